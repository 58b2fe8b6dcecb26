//! How the structures of the ABI are declared.

/// Declare C structures that have no hidden padding and of which every bit pattern is valid: they
/// can be copied from and to a caller's memory as bytes. All of them default to zero.
macro_rules! structures {
    ($($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$field_meta:meta])* pub $field:ident: $kind:ty,)*
    })*) => {$(
        $(#[$meta])*
        #[repr(C)]
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
        )]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $kind,)*
        }

        impl Default for $name {
            fn default() -> Self {
                zerocopy::FromZeros::new_zeroed()
            }
        }
    )*};
}

/// Declare numbered constants of one kind, and a function from number to name.
macro_rules! numbers {
    ($(#[$all_meta:meta])* $kind:ty; $($(#[$meta:meta])* $name:ident = $value:expr;)*) => {
        $($(#[$meta])* pub const $name: $kind = $value;)*

        $(#[$all_meta])*
        pub const ALL: &[(&str, $kind)] = &[$((stringify!($name), $name)),*];

        /// The uAPI's name of a number, if it is one of [`ALL`].
        pub fn name(number: $kind) -> Option<&'static str> {
            ALL.iter().find(|(_, n)| *n == number).map(|(name, _)| *name)
        }
    };
}

pub(crate) use {numbers, structures};
