//! The cryptography of every connection that nobody gave another: ring.

use rustls::crypto::{CryptoProvider, ring};

/// Sees that there is one, for clients that ask for the process's own.
pub(crate) fn install_provider() {
    if CryptoProvider::get_default().is_none() {
        // Loses only against another thread that installs the same one.
        ring::default_provider().install_default().ok();
    }
}
