//! A plot as SVG: lines over a logarithmic axis of numbers, readable on light and dark ground.

use std::fmt::Write as _;

/// A line: its name, its colour, its points.
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) colour: &'a str,
    pub(crate) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 56.0;

/// Draws lines; the ordinate begins at zero, so that what is flat looks flat.
pub(crate) fn draw(title: &str, unit: &str, lines: &[Line<'_>]) -> String {
    let all = || lines.iter().flat_map(|line| line.points.iter());
    let (first, last) = all().fold((f64::MAX, f64::MIN), |(low, high), (x, _)| (low.min(*x), high.max(*x)));
    let top = nice(all().fold(0.0_f64, |high, (_, y)| high.max(*y)));
    let x_of = |x: f64| {
        let share = (x.log10() - first.log10()) / (last.log10() - first.log10()).max(f64::EPSILON);
        LEFT + share * (WIDTH - LEFT - RIGHT)
    };
    let y_of = |y: f64| HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#777\">\n<title>{title}</title>\n<text x=\"{LEFT}\" y=\"20\" font-size=\"15\">{title}</text>\n"
    );
    let mut add = |text: String| {
        svg.push_str(&text);
        svg.push('\n');
    };
    for step in 0..=4 {
        let value = top * f64::from(step) / 4.0;
        let y = y_of(value);
        add(format!(
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"#999\" stroke-opacity=\"0.3\"/>",
            WIDTH - RIGHT
        ));
        add(format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value:.0}</text>",
            LEFT - 8.0,
            y + 4.0
        ));
    }
    add(format!("<text x=\"{LEFT}\" y=\"{:.1}\">{unit}</text>", TOP - 10.0));
    for (x, _) in lines.first().map(|line| line.points.as_slice()).unwrap_or_default() {
        add(format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x_of(*x),
            HEIGHT - BOTTOM + 20.0,
            thousands(*x)
        ));
    }
    for (number, line) in (0_u32..).zip(lines) {
        let path = line.points.iter().fold(String::new(), |mut path, (x, y)| {
            // Writing to a string cannot fail.
            let _ =
                write!(path, "{}{:.1},{:.1} ", if path.is_empty() { "M" } else { "L" }, x_of(*x), y_of(*y));
            path
        });
        let colour = line.colour;
        add(format!(
            "<path d=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.trim_end()
        ));
        for (x, y) in &line.points {
            add(format!("<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>", x_of(*x), y_of(*y)));
        }
        let at = LEFT + f64::from(number) * 190.0;
        let y = HEIGHT - 12.0;
        add(format!(
            "<rect x=\"{at:.1}\" y=\"{:.1}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>",
            y - 10.0
        ));
        add(format!("<text x=\"{:.1}\" y=\"{y:.1}\">{}</text>", at + 18.0, line.name));
    }
    svg.push_str("</svg>\n");
    svg
}

/// The next round number above.
fn nice(value: f64) -> f64 {
    let scale = 10_f64.powf(value.max(1.0).log10().floor());
    [1.0, 2.0, 4.0, 5.0, 8.0, 10.0]
        .into_iter()
        .map(|step| step * scale)
        .find(|top| *top >= value)
        .unwrap_or(value)
}

fn thousands(value: f64) -> String {
    if value >= 1_000_000.0 { format!("{} M", value / 1_000_000.0) } else { format!("{} k", value / 1_000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_every_point_within_its_frame() {
        let points = vec![(10_000.0, 0.0), (100_000.0, 333.0), (1_000_000.0, 571.0)];
        let svg = draw("t", "ns", &[Line { name: "a", colour: "#000", points }]);
        assert_eq!(svg.matches("<circle").count(), 3);
        assert!(svg.contains("cx=\"70.0\" cy=\"304.0\""), "{svg}");
        assert!(svg.contains("cx=\"620.0\""), "{svg}");
        assert!(svg.contains(">800<") && svg.contains(">1 M<"), "{svg}");
    }
}
