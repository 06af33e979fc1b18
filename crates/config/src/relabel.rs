//! Prometheus' relabel rules as written and shape-checked; compiling and applying them is not done here.

/// One entry of `write_relabel_configs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelabelConfig {
    /// Labels whose values are joined.
    pub source_labels: Vec<String>,
    /// What joins them; `;` unless written.
    pub separator: String,
    /// Go (RE2) syntax, anchored at both ends; `(.*)` unless written.
    pub regex: String,
    /// For `hashmod`; not 0 there.
    pub modulus: u64,
    /// Where the result goes.
    pub target_label: String,
    /// `$1` unless written.
    pub replacement: String,
    /// What is done.
    pub action: RelabelAction,
}

impl Default for RelabelConfig {
    fn default() -> Self {
        Self {
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            regex: "(.*)".to_owned(),
            modulus: 0,
            target_label: String::new(),
            replacement: "$1".to_owned(),
            action: RelabelAction::Replace,
        }
    }
}

/// What a relabel rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RelabelAction {
    #[default]
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}
