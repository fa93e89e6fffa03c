//! Passwords: Argon2id with a salt of its own each.

use crate::error::{Error, Result};
use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};

/// What is stored of a password.
pub(crate) fn hash(password: &str) -> Result<String> {
    if password.chars().count() < 8 || password.len() > 1000 {
        return Err(Error::bad("a password has 8 to 1000 characters"));
    }
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| Error::Setup(format!("cannot hash a password: {error}")))
}

/// Whether a password matches. Takes as long for a user who does not exist.
pub(super) fn is_right(stored: Option<&str>, password: &str) -> bool {
    let Some(stored) = stored else {
        // The same work, so that time does not tell which names exist.
        let _ = Argon2::default().hash_password(password.as_bytes());
        return false;
    };
    PasswordHash::new(stored).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_passes() {
        let stored = hash("correct horse").unwrap();
        assert!(stored.starts_with("$argon2id$"));
        assert!(is_right(Some(&stored), "correct horse"));
        assert!(!is_right(Some(&stored), "correct horsf"));
        assert!(!is_right(None, "correct horse"));
        assert!(hash("short").is_err());
    }
}
