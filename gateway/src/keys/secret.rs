//! Key secrets: how they are made, recognised and hashed.
//!
//! A secret is `tg-` and 43 characters of base64url: 32 bytes from the system's generator. With 256 bits of
//! chance in it a plain SHA-256 is enough to store: there is nothing to guess, so nothing a salt would slow.

use std::fmt;

use rand::TryRng;
use sha2::{Digest, Sha256};

use super::KeyError;

/// What every secret begins with.
pub const PREFIX: &str = "tg-";

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A key's secret, in clear only where it was just made; `Debug` does not show it.
pub struct Secret(String);

impl Secret {
    /// A new secret.
    ///
    /// # Errors
    /// [`KeyError::Random`] if the system gives no random bytes.
    pub fn generate() -> Result<Secret, KeyError> {
        let mut bytes = [0_u8; 32];
        rand::rngs::SysRng.try_fill_bytes(&mut bytes).map_err(|_| KeyError::Random)?;
        let mut text = String::with_capacity(PREFIX.len() + 43);
        text.push_str(PREFIX);
        for chunk in bytes.chunks(3) {
            let mut word = 0_u32;
            for index in 0..3 {
                word = (word << 8) | u32::from(chunk.get(index).copied().unwrap_or(0));
            }
            // A chunk of n bytes fills n + 1 characters.
            for position in 0..=chunk.len() {
                let index = (word >> (18 - 6 * position)) & 63;
                text.push(char::from(ALPHABET[index as usize]));
            }
        }
        Ok(Secret(text))
    }

    /// The secret in clear: to show it, once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its stored form.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// SHA-256 of a secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash of what a caller presented.
    #[must_use]
    pub fn of(presented: &str) -> SecretHash {
        SecretHash(Sha256::digest(presented.as_bytes()).into())
    }

    /// The 32 bytes stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads a stored hash; `None` unless 32 bytes long.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<SecretHash> {
        bytes.try_into().ok().map(SecretHash)
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_distinct_and_hidden_from_debug() {
        let (one, two) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        assert_eq!(one.reveal().len(), PREFIX.len() + 43);
        assert!(one.reveal()[PREFIX.len()..].bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(one.reveal(), two.reveal());
        assert_eq!(format!("{one:?} {:?}", one.hash()), "Secret(…) SecretHash(…)");
    }

    #[test]
    fn the_stored_form_is_plain_sha256() {
        let hash = SecretHash::of("tg-abc");
        let hex: String = hash.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "1c212bc5e4906469f3786f19f643ed91db5ef5b2db019a0ca681ca31aa0271ff");
        assert_eq!(SecretHash::from_slice(hash.as_bytes()), Some(hash));
        assert_eq!(SecretHash::from_slice(b"short"), None);
    }
}
