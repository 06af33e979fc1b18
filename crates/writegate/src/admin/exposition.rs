//! Writes the Prometheus text format (version 0.0.4).

use std::fmt::{Display, Write as _};

/// A metrics page being written, family by family.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    family: String,
}

/// What a family's values do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Page {
    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        name.clone_into(&mut self.family);
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// A sample of the family.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.series("", labels, &value);
    }

    /// A histogram of the family: cumulative counts per upper bound (the last is +Inf), and the sum.
    pub(super) fn histogram(&mut self, labels: &[(&str, &str)], (buckets, sum): (Vec<(f64, u64)>, f64)) {
        let count = buckets.last().map_or(0, |(_, count)| *count);
        for (bound, cumulative) in buckets {
            let bound = if bound.is_infinite() { "+Inf".to_owned() } else { bound.to_string() };
            let mut labels = labels.to_vec();
            labels.push(("le", &bound));
            self.series("_bucket", &labels, &cumulative);
        }
        self.series("_sum", labels, &sum);
        self.series("_count", labels, &count);
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    fn series(&mut self, suffix: &str, labels: &[(&str, &str)], value: &dyn Display) {
        self.text.push_str(&self.family);
        self.text.push_str(suffix);
        for (index, (name, value)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        self.line(format_args!(" {value}\n"));
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        self.text.write_fmt(text).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_as_prometheus_expects_it() {
        let mut page = Page::default();
        page.family("a_total", Kind::Counter, "What a is.");
        page.sample(&[], 3);
        page.sample(&[("x", "quote \" back \\ line \n é")], 0.5);
        page.family("b_seconds", Kind::Histogram, "How long b takes.");
        page.histogram(&[("y", "z")], (vec![(0.1, 1), (f64::INFINITY, 4)], 2.5));
        let expected = "# HELP a_total What a is.\n# TYPE a_total counter\na_total 3\n\
             a_total{x=\"quote \\\" back \\\\ line \\n é\"} 0.5\n\
             # HELP b_seconds How long b takes.\n# TYPE b_seconds histogram\n\
             b_seconds_bucket{y=\"z\",le=\"0.1\"} 1\nb_seconds_bucket{y=\"z\",le=\"+Inf\"} 4\n\
             b_seconds_sum{y=\"z\"} 2.5\nb_seconds_count{y=\"z\"} 4\n";
        assert_eq!(page.finish(), expected);
    }
}
