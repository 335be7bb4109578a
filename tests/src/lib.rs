//! Postern end-to-end tests.
