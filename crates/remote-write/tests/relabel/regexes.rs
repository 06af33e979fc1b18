//! Regular expressions against Go's `regexp`: every row holds in Go 1.26, and Go refuses each that is refused here but the
//! ones that are too deep or too large.

use remote_write::relabel::Regex;

use crate::definitions::expanded;

#[test]
fn what_matches_in_go_matches_and_nothing_else() {
    for (regex, matching, other) in [
        (r"", &[""][..], &["a", "\n"][..]),
        (r".*", &["", "a\nb"], &[]),
        (r".+", &["\n", "日"], &[""]),
        (r"(?-s).+", &["ab"], &["a\nb"]),
        (r"foo|bar", &["foo", "bar"], &["foobar", "fo", ""]),
        (r"a|", &["a", ""], &["b"]),
        (r"foo.*", &["foo", "foo\nbar"], &["fo", "afoo"]),
        (r".*foo", &["foo", "xfoo"], &["foox"]),
        (r".*foo.*", &["foo", "xfoox"], &["fo"]),
        (r"(foo).*", &["foo", "foox"], &["fo"]),
        // ASCII, where Rust's own syntax has Unicode.
        (r"\d", &["1"], &["٣", "a"]),
        (r"\w", &["_", "a"], &["é", "-"]),
        (r"\s", &["\t", "\u{c}"], &["\u{b}", "\u{a0}"]),
        (r"[[:space:]]", &["\u{b}"], &["\u{a0}"]),
        (r".\b.", &["a-", "aé", "éa"], &["ab", "é-", "éß"]),
        (r".\B.", &["ab", "éß"], &["a-"]),
        // No set operations.
        (r"[a&&b]", &["a", "&", "b"], &["c"]),
        (r"[+--b]", &["+", ",", "-", "b"], &["a"]),
        (r"[[a]b]", &["[b]", "ab]"], &["a", "b"]),
        (r"[]a]", &["]", "a"], &["b"]),
        (r"[^]a]", &["b", "\n"], &["]", "a"]),
        (r"[a-]", &["a", "-"], &["b"]),
        (r"[\d-z]", &["1", "-", "z"], &["a"]),
        (r"[[:^digit:]]", &["a"], &["1"]),
        (r"[[:word:]x]", &["_"], &["-"]),
        (r"[[:alpha]", &["[", ":", "a"], &["b", "]"]),
        // Quoting, braces, escapes.
        (r"\Qa.b\E", &["a.b"], &["axb"]),
        (r"\Qab\E+", &["ab", "abbb"], &["abab", "a"]),
        (r"a\Q\E*", &["", "aa"], &["b"]),
        (r"a{,2}", &["a{,2}"], &["a", "aa"]),
        (r"a{b}", &["a{b}"], &["a"]),
        (r"{", &["{"], &[""]),
        (r"a{01}", &["a{01}"], &["a"]),
        (r"a{2}", &["aa"], &["a", "aaa"]),
        (r"a{1,}", &["a", "aaa"], &[""]),
        (r"a{0}", &[""], &["a"]),
        (r"\07\141", &["\u{7}a"], &["7"]),
        (r"\777", &["\u{1ff}"], &["7"]),
        (r"\x41\x{e9}", &["Aé"], &["A"]),
        (r"\_\-\#", &["_-#"], &[]),
        (r"\<a\>", &["<a>"], &["a"]),
        (r"\x{d800}", &[], &["", "\u{d7ff}"]),
        (r"[\x{d7ff}-\x{e000}]", &["\u{d7ff}", "\u{e000}"], &["\u{d7fe}"]),
        // Flags.
        (r"(?i)k", &["k", "K", "\u{212a}"], &["s"]),
        (r"(?i)[^k]", &["s"], &["k", "K", "\u{212a}"]),
        (r"(?i)\w", &["\u{17f}", "\u{212a}"], &["é"]),
        (r"(?i)\W", &["é"], &["\u{17f}", "\u{212a}"]),
        (r"(?i)a|b", &["B"], &["c"]),
        (r"(?:(?i)a)b", &["Ab"], &["AB"]),
        (r"(?i)É(?-i)É", &["éÉ"], &["éé"]),
        (r"a(?i)*", &["", "aa"], &["A"]),
        (r"a*(?i)*", &["", "aa"], &["A"]),
        (r"(?m)a$\n^b", &["a\nb"], &["ab"]),
        (r"(?s-m:.)", &["\n"], &[""]),
        (r"(?)a", &["a"], &[]),
        // Unicode's categories and scripts.
        (r"\pL+", &["aéα"], &["1"]),
        (r"\PL", &["1"], &["é"]),
        (r"\p{Greek}", &["α"], &["a"]),
        (r"\p{^Greek}", &["a"], &["α"]),
        (r"\P{^Greek}", &["α"], &["a"]),
        (r"(?i)\p{Lu}", &["a", "A"], &["1"]),
        (r"\p{Miao}\p{Thai}", &["\u{16f00}\u{e01}"], &["\u{16f00}"]),
        (r"\p{Zl}", &["\u{2028}"], &["\u{2029}"]),
        (r"\p{Cs}", &[], &["a"]),
        (r"\p{uppercase letter}", &["A"], &["a"]),
        // Anchors inside, and empty parts.
        (r"^a$", &["a"], &["a\n", "ba"]),
        (r"\Aa\z", &["a"], &[]),
        (r"(?:.+,|^)x", &["x", "a,x"], &["ax"]),
        (r"()*", &[""], &["a"]),
        (r"(a|ab)(c|bcd)", &["ac", "abcd", "abc"], &["a"]),
        (r"((a{2}){2})?", &["", "aaaa"], &["aa"]),
    ] {
        let compiled = Regex::new(regex).unwrap();
        assert_eq!(compiled.as_str(), regex);
        for text in matching {
            assert!(compiled.is_match(text), "{regex} on {text:?}");
        }
        for text in other {
            assert!(!compiled.is_match(text), "{regex} on {text:?}");
        }
    }
}

#[test]
fn what_go_refuses_is_refused_where_it_is() {
    for (regex, offset, what) in [
        ("a**", 2, "repetition of a repetition"),
        ("a*{2}", 2, "repetition of a repetition"),
        ("a+?+", 3, "repetition of a repetition"),
        ("*a", 0, "nothing to repeat"),
        ("a|*", 2, "nothing to repeat"),
        ("(*)", 1, "nothing to repeat"),
        ("(?i)*", 4, "nothing to repeat"),
        (r"\Q\E*", 4, "nothing to repeat"),
        ("a{1001}", 1, "invalid repeat count"),
        ("a{2,1}", 1, "invalid repeat count"),
        ("a{99999999999999}", 1, "invalid repeat count"),
        ("(?:a{100}){11}", 10, "invalid repeat count"),
        ("((a{1000})*){2}", 12, "invalid repeat count"),
        ("(?x)a", 0, "invalid or unsupported Perl syntax `(?x`"),
        ("a(?=b)", 1, "invalid or unsupported Perl syntax"),
        ("(?!a)", 0, "invalid or unsupported Perl syntax"),
        ("(?<=a)", 0, "invalid group name"),
        ("(?<!a)>", 0, "invalid group name"),
        ("(?>a)", 0, "invalid or unsupported Perl syntax"),
        ("(?i-)a", 0, "invalid or unsupported Perl syntax"),
        ("(?-)a", 0, "invalid or unsupported Perl syntax"),
        ("(?P<a-b>x)", 0, "invalid group name"),
        ("(?P<>x)", 0, "invalid group name"),
        ("(?P=n)", 0, "invalid or unsupported Perl syntax"),
        (r"(a)\1", 3, r"invalid escape sequence `\1`"),
        (r"\8", 0, "invalid escape sequence"),
        (r"\Z", 0, "invalid escape sequence"),
        (r"\C", 0, "invalid escape sequence"),
        (r"é\q", 2, "invalid escape sequence"),
        (r"[\b]", 1, "invalid escape sequence"),
        (r"\x{110000}", 0, "invalid escape sequence"),
        (r"\x{}", 0, "invalid escape sequence"),
        (r"\xg", 0, "invalid escape sequence"),
        (r"a\", 1, "trailing backslash"),
        (r"\E", 0, "invalid escape sequence"),
        (r"\Qab", 0, r"\Q without \E"),
        ("[a", 0, "missing ]"),
        ("[]", 0, "missing ]"),
        ("[b-a]", 1, "invalid character range `b-a`"),
        (r"[a-\d]", 3, "invalid escape sequence"),
        ("[[:foo:]]", 1, "unknown character class"),
        (r"\p{Foo}", 0, "unknown character class"),
        (r"\p{Grek}", 0, "unknown character class"),
        (r"\p{IsGreek}", 0, "unknown character class"),
        (r"\p{Alphabetic}", 0, "unknown character class"),
        (r"\p", 0, "unknown character class"),
        (r"\p{", 0, "invalid character class"),
        ("(a", 0, "missing )"),
        ("a(?:b", 1, "missing )"),
        ("a)", 1, "unexpected )"),
    ] {
        let invalid = Regex::new(regex).expect_err(regex);
        assert!(invalid.offset == offset && invalid.what.contains(what), "{regex}: {invalid:?}");
    }
}

#[test]
fn what_is_too_deep_or_too_large_is_refused_and_not_tried() {
    for regex in [
        "(".repeat(100_000),
        format!("{}a{}", "(".repeat(300), ")".repeat(300)),
        format!("a{}", "*(?i)".repeat(100_000)),
    ] {
        assert!(Regex::new(&regex).unwrap_err().what.contains("deeper"));
    }
    let large = Regex::new(r"\pL{1000}").unwrap_err();
    assert!(large.what.contains("larger than"), "{large}");
    assert!(Regex::new(&format!("{}a{}", "(".repeat(200), ")".repeat(200))).unwrap().is_match("a"));
}

#[test]
fn templates_expand_as_in_go() {
    for (regex, template, value, expected) in [
        ("(.*)", "$1", "foo", "foo"),
        ("(.*)", "a$1b", "foo", "a"),
        ("(.*)", "a${1}b", "foo", "afoob"),
        ("(.*)", "$0-$2-$9", "foo", "foo--"),
        ("(.*)", "$$1$", "foo", "$1$"),
        ("(.*)", "${1", "foo", "${1"),
        ("(.*)", "${}", "foo", "${}"),
        ("(.*)", "$-", "foo", "$-"),
        ("(.*)", "${01}|${1x}", "foo", "|"),
        ("(?P<n>f)(?<1x>.*)", "$n|${1x}|$1x|$name", "foo", "f|oo|oo|"),
        ("(?P<n>x)?(?P<n>.*)", "$n", "foo", "foo"),
        ("(f)|(g)", "[$1$2]", "g", "[g]"),
        ("(a+)(a*)", "$2<$1", "aaa", "<aaa"),
        ("(a+?)(a*)", "$2<$1", "aaa", "aa<a"),
        ("(?U)(a+)(a*)", "$2<$1", "aaa", "aa<a"),
        ("(a|ab)(c|bcd)(d*)", "$1|$2|$3", "abcd", "a|bcd|"),
        ("(a*)*", "<$1>", "aa", "<aa>"),
        ("(|a)*", "<$1>", "aa", "<a>"),
        ("(?:(a)|b)*", "<$1>", "ab", "<a>"),
        ("((x).*)", "$2$1", "xy", "xxy"),
        ("(.*)", "$é$1", "foo", "foo"),
        ("(.*)", "$1é", "foo", ""),
    ] {
        assert_eq!(expanded(regex, template, value).as_deref(), Some(expected), "{regex} {template}");
    }
    assert_eq!(expanded("f(.*)", "$1", "go"), None);
}

#[test]
fn expressions_are_equal_when_their_text_is() {
    let one = Regex::new("a|b").unwrap();
    assert_eq!(one, one.clone());
    assert_eq!(one, Regex::new("a|b").unwrap());
    assert_ne!(one, Regex::new("b|a").unwrap());
    assert_eq!(Regex::default(), Regex::new("(.*)").unwrap());
    assert_eq!(format!("{one:?}"), "Regex(\"a|b\")");
}
