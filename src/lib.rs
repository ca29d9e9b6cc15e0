//! hogline moves data out of PostHog, and loses nothing.

