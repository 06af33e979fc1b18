//! Relabel rules, and a request for them: lines of `action|source,source|separator|regex|target|modulus|replacement`, an
//! empty line, a digit for the protocol, and the request.

use remote_write::check::{Checker, Rules};
use remote_write::relabel::{Action, Cache, Definition, Pipeline, Relabeler, Rule, Step};
use remote_write::{Protocol, read};

pub(crate) fn run(data: &[u8]) {
    let Some(end) = data.windows(2).position(|two| two == b"\n\n") else { return };
    let (text, request) = (&data[..end], &data[end + 2..]);
    let Ok(text) = std::str::from_utf8(text) else { return };
    let rules: Vec<Rule> = text.lines().take(6).filter_map(rule).collect();
    let [protocol, request @ ..] = request else { return };
    let protocol = if *protocol == b'2' { Protocol::V2 } else { Protocol::V1 };
    let mut checker = Checker::new();
    let Ok(checked) = checker.check(protocol, request, &Rules::default()) else { return };
    if checked.rebuild_symbols {
        return;
    }
    let request = checked.mended.unwrap_or(request).to_vec();
    let accepted = checked.accepted;

    let pipeline = Pipeline::new(rules.into_iter().map(Step::Rule).collect(), 7);
    let (with, without) = (Cache::new(1 << 20), Cache::new(0));
    let (mut relabeler, mut first, mut out) = (Relabeler::new(), Vec::new(), Vec::new());
    let told = relabeler.relabel(&pipeline, &without, protocol, &request, &mut first).expect("a checked request");
    assert_eq!(told.kept + told.dropped, accepted, "kept and dropped are all there was");
    if !first.is_empty() {
        read::read(protocol, &first).expect("what was relabeled is a request");
    }
    let mut footprint = Vec::new();
    relabeler.footprint(&pipeline, &without, protocol, &request, &mut footprint).expect("a checked request");
    for _ in 0..2 {
        relabeler.note_footprint();
        let again = relabeler.relabel(&pipeline, &with, protocol, &request, &mut out).expect("a checked request");
        assert_eq!((again.kept, again.dropped, &out), (told.kept, told.dropped, &first), "a cache changes nothing");
        assert_eq!(relabeler.noted_footprint().as_ref(), Some(&footprint), "a footprint noted is a footprint");
    }
}

fn rule(line: &str) -> Option<Rule> {
    let mut fields = line.split('|');
    let mut next = || fields.next().map(str::to_owned);
    let action = next()?.parse::<usize>().ok()?;
    let action = *Action::ALL.get(action % Action::ALL.len())?;
    let source_labels = next()?.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let definition = Definition {
        action,
        source_labels,
        separator: next()?,
        regex: next()?,
        target_label: next()?,
        modulus: next()?.parse().ok()?,
        replacement: next()?,
    };
    definition.compile().ok()
}
