//! Whatever is sent: nothing panics, every point is accounted for, what is written is right, and JSON says what protobuf says.

use otlp::accumulate::{Settings, Totals};
use otlp::{Limits, Options, Promote, Rules, Strategy, Translator, protobuf_of_json};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy as _, any, prop_assert_eq, proptest};
use prost::Message;

use crate::oracle::{Request, requests};
use crate::sound;

fn options() -> impl proptest::strategy::Strategy<Value = Options> {
    (0..4_usize, any::<[bool; 5]>()).prop_map(|(strategy, [all, keep, nhcb, scope, plain])| Options {
        strategy: Strategy::ALL[strategy],
        promote: if all { Promote::AllBut(Default::default()) } else { Promote::default() },
        keep_identifying_resource_attributes: keep,
        convert_histograms_to_nhcb: nhcb,
        promote_scope_metadata: scope,
        label_name_underscore_sanitization: plain,
        label_name_preserve_multiple_underscores: !plain,
    })
}

const SETTINGS: Settings = Settings { max_bytes: 4096, max_stale_ms: 1000 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_point_is_accepted_or_refused_and_what_is_written_is_right(
        requests in vec(requests(), 1..3), options in options(), accumulates in any::<bool>(), limited in any::<bool>()
    ) {
        let limits = if limited { Limits { label_names: 3, label_value_bytes: 12, output_bytes: 0 } } else { Limits::default() };
        let (mut totals, mut translator, mut out) = (Totals::default(), Translator::new(), Vec::new());
        for (now, request) in (0..).step_by(800).zip(&requests) {
            let deltas = accumulates.then(|| totals.session(SETTINGS, now));
            let rules = Rules { options: &options, limits, note_series: true };
            let translation = translator.translate(&request.encode_to_vec(), rules, deltas, &mut out).unwrap();
            prop_assert_eq!(translation.points, request.points());
            sound(&out, &translation, limits);
            assert!(accumulates || totals.streams() == 0);
        }
    }

    #[test]
    fn json_is_the_same_request(request in requests()) {
        let mut protobuf = Vec::new();
        protobuf_of_json(request.json().to_string().as_bytes(), usize::MAX, &mut protobuf).unwrap();
        let decoded = Request::decode(protobuf.as_slice()).unwrap();
        prop_assert_eq!(decoded.encode_to_vec(), request.encode_to_vec());
    }

    #[test]
    fn bytes_that_are_no_request_are_refused_and_nothing_panics(
        request in requests(), flips in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4), cut in any::<proptest::sample::Index>()
    ) {
        let mut bytes = request.encode_to_vec();
        bytes.push(0);
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()));
        let mut out = Vec::new();
        let rules = Rules { options: &Options::default(), limits: Limits::default(), note_series: true };
        if let Ok(translation) = Translator::new().translate(&bytes, rules, None, &mut out) {
            sound(&out, &translation, Limits::default());
        }
    }

    #[test]
    fn text_that_is_no_json_is_refused_and_nothing_panics(text in "[\\[\\]{}\":,a-z0-9.-]{0,60}") {
        let mut out = Vec::new();
        drop(protobuf_of_json(text.as_bytes(), usize::MAX, &mut out));
    }
}
