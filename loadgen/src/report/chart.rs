//! Line charts as SVG, drawn without scripts.

use std::fmt::Write as _;

/// How much of the page a chart takes. Its own units are about pixels, so that letters have the same size in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// All of its width.
    Whole,
    /// Half of its width.
    Half,
}

impl Size {
    /// Width and height.
    fn units(self) -> (f64, f64) {
        match self {
            Self::Whole => (1000.0, 300.0),
            Self::Half => (480.0, 220.0),
        }
    }
}

/// Margins for the labels: left, right, top, bottom.
const MARGINS: (f64, f64, f64, f64) = (64.0, 14.0, 12.0, 26.0);

/// How values lie on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Logarithmic,
}

/// One direction of a chart.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) scale: Scale,
    pub(super) from: f64,
    pub(super) to: f64,
    /// Places with a label.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From zero to a round number at or above `highest`, with about four labels.
    pub(super) fn from_zero(highest: f64, label: impl Fn(f64) -> String) -> Self {
        let step = round_step(highest.max(1e-9) / 4.0);
        let count = (highest / step).ceil().max(1.0);
        let ticks = (0..=count as u32).map(|tick| f64::from(tick) * step).map(|value| (value, label(value))).collect();
        Self { scale: Scale::Linear, from: 0.0, to: count * step, ticks }
    }

    /// A little more than the values, all above zero, with labels at the powers of ten.
    pub(super) fn powers_of_ten(lowest: f64, highest: f64, label: impl Fn(f64) -> String) -> Self {
        let (lowest, highest) = (lowest.max(1e-9), highest.max(lowest).max(1e-9));
        // At least one power of ten, so that there are two labels.
        let from = 10_f64.powf(lowest.log10().floor());
        let to = round_step(highest * 1.05).max(from * 10.0);
        let powers = from.log10().round() as i32..=(to.log10() + 1e-9).floor() as i32;
        let ticks = powers.map(|power| 10_f64.powi(power)).map(|value| (value, label(value))).collect();
        Self { scale: Scale::Logarithmic, from, to, ticks }
    }

    /// Where a value lies, 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Logarithmic => (value.max(self.from) / self.from).ln() / (self.to / self.from).ln(),
        };
        place.clamp(0.0, 1.0)
    }
}

/// The next of 1, 2, 5, 10, 20, 50 ... at or above `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let rounded = [1.0, 2.0, 5.0].map(|factor| factor * power);
    rounded.into_iter().find(|candidate| *candidate >= step * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

/// A line: its style's number and its points. A `None` leaves a gap.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) style: u8,
    pub(super) points: Vec<Option<(f64, f64)>>,
}

/// Draws lines over two axes.
pub(super) fn draw(size: Size, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let (width, height) = size.units();
    let (left, right, top, bottom) = MARGINS;
    let at_x = |value: f64| left + x.place(value) * (width - left - right);
    let at_y = |value: f64| height - bottom - y.place(value) * (height - top - bottom);
    let mut out = format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\">");
    // Writing to a String cannot fail.
    for (value, label) in &y.ticks {
        let place = at_y(*value);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{place:.1}\" y2=\"{place:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            width - right,
            left - 8.0,
            place + 4.0
        );
    }
    for (value, label) in &x.ticks {
        let place = at_x(*value);
        let _ = write!(
            out,
            "<line class=\"tick\" x1=\"{place:.1}\" x2=\"{place:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\
             <text x=\"{place:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            height - bottom,
            height - bottom + 4.0,
            height - 8.0
        );
    }
    for line in lines {
        let mut path = String::new();
        let mut pen = 'M';
        for point in &line.points {
            match point {
                Some((x, y)) => {
                    let _ = write!(path, "{pen}{:.1} {:.1}", at_x(*x), at_y(*y));
                    pen = 'L';
                }
                None => pen = 'M',
            }
        }
        let _ = write!(out, "<path class=\"line s{}\" d=\"{path}\"/>", line.style);
    }
    out.push_str("</svg>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number_above_the_highest_value() {
        for (highest, to, ticks) in [(0.0, 5e-10, 2), (7.0, 8.0, 5), (97.0, 100.0, 3), (20_400.0, 30_000.0, 4)] {
            let axis = Axis::from_zero(highest, |value| value.to_string());
            assert!((axis.to / to - 1.0).abs() < 1e-9 || highest == 0.0, "{highest}: {}", axis.to);
            assert!(axis.ticks.len() >= ticks.min(2), "{highest}: {axis:?}");
        }
    }

    #[test]
    fn powers_of_ten_enclose_the_values() {
        let axis = Axis::powers_of_ten(43.0, 1_200.0, |value| value.to_string());
        assert!((axis.from - 10.0).abs() < 1e-9 && (axis.to - 2_000.0).abs() < 1e-6, "{axis:?}");
        assert_eq!(axis.ticks.len(), 3);
        let place = axis.place(100.0);
        assert!((place - 1.0 / 200_f64.log10()).abs() < 1e-9, "{place}");
        assert_eq!(Axis::powers_of_ten(1.0, 1.0, |value| value.to_string()).ticks.len(), 2);
    }

    #[test]
    fn a_line_with_a_gap_is_lifted_there() {
        let axis = Axis::from_zero(10.0, |value| value.to_string());
        let points = vec![Some((0.0, 0.0)), Some((1.0, 1.0)), None, Some((3.0, 10.0))];
        let svg = draw(Size::Half, &axis, &axis, &[Line { style: 1, points }]);
        let path =
            svg.split("d=\"").nth(1).map(|rest| rest.chars().filter(char::is_ascii_alphabetic).take(3).collect());
        assert_eq!(path, Some("MLM".to_owned()), "{svg}");
        assert!(svg.contains("class=\"line s1\""));
    }
}
