//! Records: from the bytes of an answer to typed values, without a tree between.
//!
//! [`Splitter`](split::Splitter) cuts a stream of bytes into rows and their
//! fields, [`Batch`](batch::Batch) keeps them as slices of one buffer, and
//! [`Row::value`](batch::Row::value) converts a single field only when a target
//! asks for it. Nothing here has heard of HTTP or of a target.

pub mod batch;
pub(crate) mod bytes;
pub mod casing;
pub(crate) mod city;
pub(crate) mod csv;
pub mod filter;
pub(crate) mod inside;
pub(crate) mod json;
pub mod keys;
pub mod repair;
pub(crate) mod scan;
pub mod split;
pub(crate) mod storable;
pub mod transform;
pub mod value;
