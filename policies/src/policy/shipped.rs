//! The policies that come with the program.

/// File name and text of every shipped policy; `default.toml` first.
pub fn shipped() -> &'static [(&'static str, &'static str)] {
    &[
        ("default.toml", include_str!("../../default.toml")),
        ("cheapest.toml", include_str!("../../cheapest.toml")),
        ("careful.toml", include_str!("../../careful.toml")),
    ]
}
