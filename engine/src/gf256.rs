//! The fields of 256 elements that ciphers are made of: bytes as polynomials over GF(2), modulo one of
//! degree 8, which is given by its low byte, without x^8.

#![forbid(unsafe_code)]

/// The product of two elements.
pub const fn multiply(a: u8, b: u8, polynomial: u8) -> u8 {
    let (mut product, mut a, mut bit) = (0, a, 0);
    while bit < 8 {
        if b >> bit & 1 == 1 {
            product ^= a;
        }
        a = (a << 1) ^ if a >> 7 == 1 { polynomial } else { 0 };
        bit += 1;
    }
    product
}

/// The inverse of an element, and 0 for 0.
pub const fn invert(x: u8, polynomial: u8) -> u8 {
    // It is x^254: the product of x^2, x^4 ... x^128.
    let (mut inverse, mut power, mut i) = (1, x, 1);
    while i < 8 {
        power = multiply(power, power, polynomial);
        inverse = multiply(inverse, power, polynomial);
        i += 1;
    }
    inverse
}
