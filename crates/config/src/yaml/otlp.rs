//! Prints `otlp`.

use std::fmt;

use super::Yaml;
use crate::otlp::{Otlp, PromoteAttributes};
use crate::read::otlp::STRATEGIES;
use crate::units::{ShowDuration, ShowSize};

pub(super) fn otlp(out: &mut Yaml<'_, '_>, otlp: &Otlp) -> fmt::Result {
    if let Some((word, _)) = STRATEGIES.iter().find(|(_, strategy)| *strategy == otlp.translation_strategy) {
        out.plain("translation_strategy", word)?;
    }
    match &otlp.promote {
        PromoteAttributes::Only(some) => out.texts("promote_resource_attributes", some)?,
        PromoteAttributes::AllBut(others) => {
            out.plain("promote_all_resource_attributes", true)?;
            out.texts("ignore_resource_attributes", others)?;
        }
    }
    out.plain("keep_identifying_resource_attributes", otlp.keep_identifying_resource_attributes)?;
    out.plain("convert_histograms_to_nhcb", otlp.convert_histograms_to_nhcb)?;
    out.plain("promote_scope_metadata", otlp.promote_scope_metadata)?;
    out.plain("label_name_underscore_sanitization", otlp.label_name_underscore_sanitization)?;
    out.plain("label_name_preserve_multiple_underscores", otlp.label_name_preserve_multiple_underscores)?;
    out.plain("delta_max_bytes", ShowSize(otlp.delta_max_bytes))?;
    out.plain("delta_max_stale", ShowDuration(otlp.delta_max_stale))
}
