use proptest::prelude::*;

use super::*;

fn amounts() -> impl Strategy<Value = Vec<Amount>> {
    let value = prop_oneof![
        any::<f64>(),
        Just(0.0),
        Just(u64::MAX as f64),
        0.0..1e12_f64,
        Just(f64::NAN),
        Just(f64::INFINITY)
    ];
    let one = (".*", value, ".*")
        .prop_map(|(label, value, shown)| Amount::new(label, value, shown).up_to(value * 2.0));
    proptest::collection::vec(one, 0..60)
}

fn plots() -> impl Strategy<Value = Plot> {
    let span = (".*", any::<f64>(), any::<f64>(), ".*").prop_map(|(label, from, to, shown)| Span {
        label,
        from,
        to,
        shown,
    });
    let names = proptest::collection::vec(".*", 0..20);
    let link = (0..25_usize, 0..25_usize).prop_map(|(left, right)| Link { left, right });
    prop_oneof![
        amounts().prop_map(Plot::Bars),
        amounts().prop_map(Plot::Treemap),
        (proptest::collection::vec(span.clone(), 0..20), proptest::collection::vec(span, 0..20))
            .prop_map(|(spans, shades)| Plot::Gantt { spans, shades }),
        any::<[[f64; 24]; 7]>().prop_map(|days| Plot::Week(Box::new(days))),
        (names.clone(), names, proptest::collection::vec(link, 0..30))
            .prop_map(|(left, right, links)| Plot::Map { left, right, links }),
    ]
}

/// The numbers of all attributes with this name.
fn numbers(svg: &str, name: &str) -> Vec<f64> {
    let mark = format!(" {name}=\"");
    svg.split(&mark).skip(1).map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever the data: numbers are numbers within the drawing, and text stays text.
    #[test]
    fn a_drawing_is_well_formed(title: String, note: String, plot in plots()) {
        let svg = Figure::new(title, note, plot).svg();
        for bad in ["\"NaN", "\"inf", "\"-inf"] {
            prop_assert!(!svg.contains(bad), "{svg}");
        }
        for name in ["x", "y", "width", "height", "x1", "y1", "x2", "y2"] {
            for value in numbers(&svg, name) {
                prop_assert!((-0.1..100_000.0).contains(&value), "{name} {value}: {svg}");
            }
        }
        // Every tag is one of ours.
        for tag in svg.split('<').skip(1) {
            let known = ["svg ", "/svg>", "rect ", "/rect>", "text ", "/text>", "title>", "/title>", "line "];
            prop_assert!(known.iter().any(|known| tag.starts_with(known)), "{tag}");
        }
        prop_assert!(!svg.chars().any(char::is_control));
    }
}

#[test]
fn areas_fill_the_treemap_in_proportion() {
    let amounts: Vec<_> =
        (1..=12).map(|n| Amount::new(format!("{n}"), f64::from(n * n), "")).collect();
    let svg = Figure::new("t", "n", Plot::Treemap(amounts)).svg();
    let areas: Vec<f64> = numbers(&svg, "width")
        .into_iter()
        .zip(numbers(&svg, "height"))
        .map(|(width, height)| (width + 2.0) * (height + 2.0))
        .collect();
    let total: f64 = areas.iter().sum();
    assert!((total / (720.0 * 320.0) - 1.0).abs() < 0.01, "{total}");
    let largest = areas.iter().copied().fold(0.0, f64::max);
    assert!((largest / total - 144.0 / 650.0).abs() < 0.01);
}

#[test]
fn what_is_nothing_is_empty() {
    let bars = |value| Figure::new("t", "n", Plot::Bars(vec![Amount::new("a", value, "")]));
    assert!(bars(0.0).is_empty() && bars(f64::NAN).is_empty() && bars(-1.0).is_empty());
    assert!(!bars(1.0).is_empty());
    assert!(Figure::new("t", "n", Plot::Week(Box::new([[0.0; 24]; 7]))).is_empty());
}
