//! The cryptographic instructions' arithmetic (Arm ARM, FEAT_AES, FEAT_PMULL, FEAT_SHA1,
//! FEAT_SHA256, FEAT_SHA512, FEAT_SM3, FEAT_SM4, FEAT_CRC32), as pure functions. Polynomial products are with the other products, in
//! [`crate::simd::multiply`].

#![forbid(unsafe_code)]

pub mod aes;
pub mod crc32;
pub mod sha1;
pub mod sha256;
pub mod sha512;
pub mod sm3;
pub mod sm4;
