//! What a module has beside its rules, and where things stand.
use super::*;

#[test]
fn places_and_comments_are_kept() {
    let text = "\u{feff}# a \r\npackage t # b\n\n  p := \"é\" + x # c\n#d";
    let module = module(text, 7, Version::V1).unwrap();
    let place = |loc: Loc| (loc.module, loc.row, loc.col);
    let comments: Vec<_> = module.comments.iter().map(|(loc, text)| (place(*loc), &**text)).collect();
    assert_eq!(comments, [((7, 1, 1), " a "), ((7, 2, 11), " b"), ((7, 4, 16), " c"), ((7, 5, 1), "d")]);
    assert_eq!((place(module.loc), place(module.rules[0].loc)), ((7, 2, 1), (7, 4, 3)));
    let value = module.rules[0].head.value.as_ref().unwrap();
    let crate::ast::TermKind::Call(call) = &value.kind else { panic!("{value:?}") };
    assert_eq!(
        (place(value.loc), place(call.loc), place(call.args[1].loc)),
        ((7, 4, 8), (7, 4, 12), (7, 4, 14))
    );
}

#[test]
fn a_module_has_its_package_its_imports_and_its_version() {
    let text = "package a.if[\"b c\"]\nimport data.x[\"y z\"].w as v\nimport input\nimport rego.v1\n";
    for version in [Version::V0, Version::V1] {
        let module = module(text, 0, version).unwrap();
        let strings = |path: &[crate::ast::Str]| path.iter().map(|part| part.to_string()).collect::<Vec<_>>();
        assert_eq!(strings(&module.package), ["a", "if", "b c"]);
        let imports: Vec<_> =
            module.imports.iter().map(|i| (strings(&i.path).join("/"), i.alias.as_deref())).collect();
        assert_eq!(
            imports,
            [
                ("data/x/y z/w".to_owned(), Some("v")),
                ("input".to_owned(), None),
                ("rego/v1".to_owned(), None)
            ]
        );
        assert_eq!(module.version, Version::V1);
    }
    assert_eq!(module("package a", 0, Version::V0).unwrap().version, Version::V0);
    for text in ["", "# a", "p := 1", "package", "package a[b]", "package a(1)", "package _", "package 1"] {
        assert!(module(text, 0, Version::V1).is_err(), "{text}");
    }
}
