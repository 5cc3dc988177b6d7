use super::*;

#[test]
fn every_shipped_policy_is_sound() {
    let known = Known { models: &["small-moe", "large"], regions: &["local"] };
    for (file, text) in shipped() {
        let policy = check(file, text, Some(&known)).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(format!("{}.toml", policy.name), *file);
    }
    assert_eq!(shipped()[0].0, "default.toml");
}
