//! Line plots as SVG: legible on a light and on a dark page, small enough to be kept in the repository.

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
/// Around the plotting area: left for the numbers of the vertical axis, right for the names of the lines.
const LEFT: f64 = 76.0;
const RIGHT: f64 = 160.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 48.0;
/// Ticks that an axis has about.
const TICKS: f64 = 5.0;
/// More points than this are more than anyone sees.
const MAX_POINTS: usize = 400;
/// Legible on white and on black.
const COLOURS: [&str; 4] = ["#e4572e", "#2e86de", "#17a673", "#a463d9"];

/// A plot.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<PlotLine>,
}

#[derive(Clone, Debug)]
pub(crate) struct Axis {
    /// With the unit.
    pub(crate) label: &'static str,
    /// By powers of ten; only for positive values.
    pub(crate) logarithmic: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct PlotLine {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
    /// A mark at each point.
    pub(crate) marks: bool,
}

impl Plot {
    /// The file's text.
    pub(crate) fn svg(&self) -> String {
        let values =
            |pick: fn(&(f64, f64)) -> f64| self.lines.iter().flat_map(|line| line.points.iter().map(pick)).collect();
        let horizontal = Scale::new(&self.x, values(|point| point.0), (LEFT, WIDTH - RIGHT));
        let vertical = Scale::new(&self.y, values(|point| point.1), (HEIGHT - BOTTOM, TOP));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<title>{title}</title>\n\
             <style>text{{fill:#1f2328}}.grid{{stroke:#8884;stroke-width:1}}.line{{fill:none;stroke-width:2}}\
             @media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}}}</style>\n\
             <text x=\"{LEFT}\" y=\"20\" font-size=\"14\" font-weight=\"600\">{title}</text>\n",
            title = escaped(&self.title)
        );
        self.axes(&mut svg, &horizontal, &vertical);
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            draw(&mut svg, line, colour, &horizontal, &vertical);
        }
        for (index, (line, colour)) in self.lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
            let y = TOP + 18.0 * index as f64 + 6.0;
            let x = WIDTH - RIGHT + 14.0;
            put(
                &mut svg,
                format_args!("<rect x=\"{x}\" y=\"{:.0}\" width=\"12\" height=\"4\" fill=\"{colour}\"/>\n", y - 6.0),
            );
            put(&mut svg, format_args!("<text x=\"{}\" y=\"{y}\">{}</text>\n", x + 18.0, escaped(&line.name)));
        }
        svg + "</svg>\n"
    }

    fn axes(&self, svg: &mut String, horizontal: &Scale, vertical: &Scale) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for tick in vertical.ticks() {
            let y = vertical.place(tick);
            put(svg, format_args!("<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>\n"));
            let label = number(tick);
            put(
                svg,
                format_args!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\n", LEFT - 8.0, y + 4.0),
            );
        }
        for tick in horizontal.ticks() {
            let x = horizontal.place(tick);
            put(svg, format_args!("<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>\n"));
            let label = number(tick);
            put(
                svg,
                format_args!("<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>\n", bottom + 18.0),
            );
        }
        let middle = f64::midpoint(LEFT, right);
        let label = escaped(self.x.label);
        put(svg, format_args!("<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{label}</text>\n", HEIGHT - 10.0));
        put(svg, format_args!("<text x=\"{LEFT}\" y=\"{}\">{}</text>\n", TOP - 8.0, escaped(self.y.label)));
    }
}

fn draw(svg: &mut String, line: &PlotLine, colour: &str, horizontal: &Scale, vertical: &Scale) {
    let step = line.points.len().div_ceil(MAX_POINTS).max(1);
    let placed = line.points.iter().step_by(step).map(|(x, y)| (horizontal.place(*x), vertical.place(*y)));
    let placed: Vec<_> = placed.collect();
    let points: Vec<_> = placed.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    put(svg, format_args!("<polyline class=\"line\" stroke=\"{colour}\" points=\"{}\"/>\n", points.join(" ")));
    for (x, y) in placed.iter().filter(|_| line.marks) {
        put(svg, format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>\n"));
    }
}

fn put(svg: &mut String, text: std::fmt::Arguments<'_>) {
    svg.push_str(&text.to_string());
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// Where values lie between two places on the page.
#[derive(Clone, Copy, Debug)]
struct Scale {
    logarithmic: bool,
    /// In values, or their logarithms.
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// From zero, or a power of ten, to a little more than the greatest value.
    fn new(axis: &Axis, values: Vec<f64>, (from, to): (f64, f64)) -> Self {
        let values = values.into_iter().filter(|value| value.is_finite() && (!axis.logarithmic || *value > 0.0));
        let values: Vec<f64> = values.collect();
        let greatest = values.iter().copied().fold(0.0, f64::max);
        let logarithmic = axis.logarithmic && greatest > 0.0;
        let (low, high) = if logarithmic {
            let least = values.iter().copied().fold(f64::MAX, f64::min);
            let (low, high) = (least.log10().floor(), greatest.log10().ceil());
            (low, if high > low { high } else { low + 1.0 })
        } else {
            (0.0, if greatest > 0.0 { greatest * 1.04 } else { 1.0 })
        };
        Self { logarithmic, low, high, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.max(f64::MIN_POSITIVE).log10() } else { value };
        let share = (value - self.low) / (self.high - self.low);
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Round values in it.
    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let powers = self.low as i32..=self.high as i32;
            return powers.map(|power| 10_f64.powi(power)).collect();
        }
        let rough = (self.high - self.low) / TICKS;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough);
        let step = step.unwrap_or(power * 10.0);
        let count = (self.high / step).floor() as u32;
        (0..=count).map(|index| f64::from(index) * step).collect()
    }
}

/// A tick's number, short.
fn number(value: f64) -> String {
    let short = |value: f64, unit| {
        let text = format!("{value:.1}");
        text.strip_suffix(".0").unwrap_or(&text).to_owned() + unit
    };
    match value {
        value if value >= 1e6 => short(value / 1e6, " M"),
        value if value >= 1e4 => short(value / 1e3, " k"),
        value if value >= 10.0 || value == 0.0 => format!("{value:.0}"),
        value => {
            let text = format!("{value:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINEAR: Axis = Axis { label: "s", logarithmic: false };
    const LOGARITHMIC: Axis = Axis { label: "series", logarithmic: true };

    #[test]
    fn a_linear_scale_begins_at_zero_and_has_round_ticks() {
        let scale = Scale::new(&LINEAR, vec![3.0, 8.3], (0.0, 100.0));
        assert_eq!(scale.ticks(), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert!(scale.place(0.0).abs() < 1e-9 && scale.place(8.3) < 100.0 && scale.place(8.3) > 90.0);
    }

    #[test]
    fn a_logarithmic_scale_goes_by_powers_of_ten() {
        let scale = Scale::new(&LOGARITHMIC, vec![10_000.0, 10_000_000.0], (0.0, 90.0));
        assert_eq!(scale.ticks(), [1e4, 1e5, 1e6, 1e7]);
        assert!((scale.place(1e5) - 30.0).abs() < 1e-6, "{}", scale.place(1e5));
    }

    #[test]
    fn scales_of_nothing_and_of_zeros_are_still_scales() {
        for axis in [&LINEAR, &LOGARITHMIC] {
            for values in [vec![], vec![0.0], vec![f64::NAN, f64::INFINITY]] {
                let scale = Scale::new(axis, values, (0.0, 10.0));
                assert!(scale.place(0.5).is_finite() && scale.ticks().len() > 1);
            }
        }
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.25, 5.0, 300.0, 20_000.0, 1_500_000.0].map(number);
        assert_eq!(texts, ["0", "0.25", "5", "300", "20 k", "1.5 M"]);
    }

    #[test]
    fn a_plot_has_every_line_by_name_and_takes_the_colour_of_text_from_the_page() {
        let line = |name: &str| PlotLine { name: name.to_owned(), points: vec![(0.0, 1.0), (9.0, 4.0)], marks: true };
        let lines = vec![line("Writegate"), line("A & B")];
        let svg = Plot { title: "Lag < 5".to_owned(), x: LINEAR, y: LOGARITHMIC, lines }.svg();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert_eq!((svg.matches("<polyline").count(), svg.matches("<circle").count()), (2, 4));
        assert!(svg.contains("A &amp; B") && svg.contains("Lag &lt; 5") && svg.contains("prefers-color-scheme"));
    }

    #[test]
    fn a_long_line_is_thinned() {
        let points = (0..10_000).map(|index| (f64::from(index), 1.0)).collect();
        let lines = vec![PlotLine { name: "a".to_owned(), points, marks: false }];
        let svg = Plot { title: "t".to_owned(), x: LINEAR, y: LINEAR, lines }.svg();
        assert!(svg.len() < 20_000, "{}", svg.len());
    }
}
