//! An OTLP request, in protobuf or in JSON: every point is accounted for, and what it becomes passes the check as it is.

use otlp::accumulate::{Settings, Totals};
use otlp::{Limits, Options, Promote, Rules, Strategy, Translator, protobuf_of_json};
use remote_write::Protocol;
use remote_write::check::{self, Checker};

/// What a request may become.
const LIMIT: usize = 1 << 20;
/// Room for a few streams only.
const DELTAS: Settings = Settings { max_bytes: 2048, max_stale_ms: 1000 };

/// The first byte says how to translate; a `{` after it is the start of JSON.
pub(crate) fn run(data: &[u8]) {
    let Some((&choice, request)) = data.split_first() else { return };
    let bit = |number: u8| choice & (1 << number) != 0;
    let options = Options {
        strategy: Strategy::ALL[usize::from(choice & 3)],
        promote: if bit(2) { Promote::AllBut(["a".to_owned()].into()) } else { Promote::default() },
        keep_identifying_resource_attributes: bit(3),
        convert_histograms_to_nhcb: bit(4),
        promote_scope_metadata: bit(5),
        label_name_underscore_sanitization: bit(6),
        label_name_preserve_multiple_underscores: !bit(6),
    };
    let limits = if bit(7) {
        Limits { label_names: 4, label_value_bytes: 16, output_bytes: LIMIT }
    } else {
        Limits { output_bytes: LIMIT, ..Limits::default() }
    };
    let mut protobuf = Vec::new();
    let request = if request.starts_with(b"{") {
        if protobuf_of_json(request, LIMIT, &mut protobuf).is_err() {
            return;
        }
        protobuf.as_slice()
    } else {
        request
    };
    let (mut translator, mut totals, mut out) = (Translator::new(), Totals::default(), Vec::new());
    let rules = Rules { options: &options, limits, note_series: true };
    // Without deltas, and with them, also when the request comes again.
    for deltas in [false, true, true] {
        let session = deltas.then(|| totals.session(DELTAS, 0));
        let Ok(translation) = translator.translate(request, rules, session, &mut out) else { return };
        let mut touched: Vec<_> = translation.series.iter().map(|(_, point)| *point).collect();
        touched.dedup();
        assert_eq!(
            touched.len() as u64 + translation.refused.points(),
            translation.points,
            "a point is series, or refused: {}",
            translation.refused
        );
        assert!(out.len() <= LIMIT && totals.bytes() <= DELTAS.max_bytes);
        let label_rules = check::Rules {
            strict: true,
            label_names: limits.label_names,
            label_value_bytes: limits.label_value_bytes,
            keep_vm_account_labels: false,
        };
        let mut checker = Checker::new();
        let checked = checker.check(Protocol::V2, &out, &label_rules).expect("what is translated is a request");
        assert_eq!(checked.received, checked.accepted + checked.rejected.counts());
        // Labels of exemplars alone may be longer than a tenant's may be.
        let lost = checked.received.saturating_sub(checked.accepted);
        assert_eq!((lost.samples, lost.histograms), (0, 0), "{}", checked.rejected.describe(checked.received_series));
        assert!(checked.mended.is_none() || lost.exemplars > 0, "nothing is left to mend: {:?}", checked.changes);
    }
}
