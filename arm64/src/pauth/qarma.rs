//! QARMA-64 with five rounds, the tweakable block cipher of pointer authentication (Arm ARM shared
//! pseudocode ComputePAC; R. Avanzi, "The QARMA Block Cipher Family", 2017).
//!
//! The state is 16 cells of 4 bits; cell `n` is bits 4n+3:4n.

/// Round constants.
const CONSTANTS: [u64; 5] = [
    0x0000_0000_0000_0000,
    0x1319_8a2e_0370_7344,
    0xa409_3822_299f_31d0,
    0x082e_fa98_ec4e_6c89,
    0x4528_21e6_38d0_1377,
];
/// The constant that tells the backward half from the forward one.
const ALPHA: u64 = 0xc0ac_29b7_c97c_50dd;

/// The S-box, sigma 2 of the paper.
const SUBSTITUTE: [u8; 16] = [11, 6, 8, 15, 12, 0, 9, 14, 3, 7, 4, 5, 13, 2, 1, 10];
/// From which cell each comes in a round.
const SHUFFLE: [u8; 16] = [13, 6, 11, 0, 7, 12, 1, 10, 8, 3, 14, 5, 2, 9, 4, 15];
/// From which cell of the tweak each comes in its update.
const TWEAK: [u8; 16] = [4, 5, 6, 7, 11, 2, 3, 8, 12, 13, 14, 15, 0, 1, 10, 9];
/// The cells, after that, that go through the shift register.
const SHIFTED: u16 = 1 << 2 | 1 << 4 | 1 << 7 | 1 << 11 | 1 << 12 | 1 << 14 | 1 << 15;

const fn inverse(permutation: [u8; 16]) -> [u8; 16] {
    let mut inverse = [0; 16];
    let mut i = 0;
    while i < 16 {
        inverse[permutation[i] as usize] = i as u8;
        i += 1;
    }
    inverse
}

const UNSUBSTITUTE: [u8; 16] = inverse(SUBSTITUTE);
const UNSHUFFLE: [u8; 16] = inverse(SHUFFLE);

fn cell(state: u64, n: u8) -> u64 {
    state >> (4 * n) & 15
}

fn each(f: impl Fn(u8) -> u64) -> u64 {
    (0..16).fold(0, |state, n| state | f(n) << (4 * n))
}

fn substitute(state: u64, table: &[u8; 16]) -> u64 {
    each(|n| table[cell(state, n) as usize].into())
}

fn permute(state: u64, table: &[u8; 16]) -> u64 {
    each(|n| cell(state, table[n as usize]))
}

/// The matrix circ(0, r, r^2, r), where r rotates a cell left by one. It is its own inverse.
fn mix_columns(state: u64) -> u64 {
    let rotated = |n: u8, by: u32| {
        let cell = cell(state, n & 15);
        (cell << by | cell >> (4 - by)) & 15
    };
    each(|n| rotated(n + 4, 1) ^ rotated(n + 8, 2) ^ rotated(n + 12, 1))
}

/// The next tweak.
fn update(tweak: u64) -> u64 {
    each(|n| {
        let cell = cell(tweak, TWEAK[n as usize]);
        match SHIFTED >> n & 1 {
            0 => cell,
            _ => cell >> 1 | ((cell ^ cell >> 1) & 1) << 3,
        }
    })
}

/// The tweak before.
fn downdate(tweak: u64) -> u64 {
    let back = |n: u8| {
        let cell = cell(tweak, n);
        match SHIFTED >> n & 1 {
            0 => cell,
            _ => cell << 1 & 15 | (cell >> 3 ^ cell) & 1,
        }
    };
    (0..16).fold(0, |all, n| all | back(n) << (4 * TWEAK[n as usize]))
}

/// The cipher: `high` and `low` are the halves of the key.
pub fn qarma5(data: u64, modifier: u64, high: u64, low: u64) -> u64 {
    let mut tweak = modifier;
    let mut state = data ^ high;
    for (i, constant) in CONSTANTS.iter().enumerate() {
        state ^= low ^ tweak ^ constant;
        if i > 0 {
            state = mix_columns(permute(state, &SHUFFLE));
        }
        state = substitute(state, &SUBSTITUTE);
        tweak = update(tweak);
    }
    // The reflector, between two rounds with the derived whitening key and the key itself.
    let derived = high.rotate_right(1) ^ high >> 63;
    state ^= derived ^ tweak;
    state = mix_columns(permute(state, &SHUFFLE));
    state = substitute(state, &SUBSTITUTE);
    state = mix_columns(permute(state, &SHUFFLE)) ^ low;
    state = permute(state, &UNSHUFFLE);
    state = substitute(state, &UNSUBSTITUTE);
    state = permute(mix_columns(state), &UNSHUFFLE);
    state ^= high ^ tweak;
    for (i, constant) in CONSTANTS.iter().rev().enumerate() {
        state = substitute(state, &UNSUBSTITUTE);
        if i < 4 {
            state = permute(mix_columns(state), &UNSHUFFLE);
        }
        tweak = downdate(tweak);
        state ^= low ^ tweak ^ constant ^ ALPHA;
    }
    state ^ derived
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paper's vector, appendix: S-box sigma 2, five rounds.
    #[test]
    fn the_published_vector() {
        let (high, low) = (0x84be_85ce_9804_e94b, 0xec28_02d4_e0a4_88e9);
        let (data, tweak) = (0xfb62_3599_da6e_8127, 0x477d_469d_ec0b_8762);
        assert_eq!(qarma5(data, tweak, high, low), 0xc003_b939_99b3_3765);
    }

    #[test]
    fn what_undoes_undoes() {
        let state = 0x0123_4567_89ab_cdef;
        assert_eq!(downdate(update(state)), state);
        assert_eq!(mix_columns(mix_columns(state)), state);
        let shuffled = permute(permute(state, &SHUFFLE), &UNSHUFFLE);
        assert_eq!(shuffled, state);
    }
}
