//! Who is speaking: tokens, key sets, passwords and certificates.
