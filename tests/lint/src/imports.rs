//! Who imports whom among the files of one crate.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::source::Source;

/// From file to file, with the line of the first import.
pub(crate) type Graph = BTreeMap<String, BTreeMap<String, usize>>;

/// A path such as `crate::a::b`, and the line it stands on.
struct Path {
    line: usize,
    segments: Vec<String>,
}

/// `use …;`, one for each name.
struct Import {
    path: Path,
    /// The name in this file.
    name: String,
    /// Passed on to others under that name.
    is_reexport: bool,
}

struct Module<'a> {
    /// Directory of the crate's root file.
    root: &'a str,
    /// Names from the crate's root down.
    names: Vec<String>,
    imports: Vec<Import>,
    paths: Vec<Path>,
}

/// The graph of all crates. Imports of tests inside a file do not count. Neither does what a file
/// takes from a folder that it lies in, nor the list of names that an index passes on: a folder
/// and its index are one thing to others.
pub(crate) fn graph(sources: &[Source]) -> Graph {
    let roots: BTreeSet<&str> = sources
        .iter()
        .filter(|source| matches!(source.file_name(), "lib.rs" | "main.rs"))
        .filter_map(|source| source.path.rsplit_once('/').map(|(folder, _)| folder))
        .collect();
    let modules: BTreeMap<&str, Module<'_>> = sources
        .iter()
        .filter_map(|source| Some((source.path.as_str(), module(source, &roots)?)))
        .collect();
    let files: HashMap<(&str, &[String]), &str> = modules
        .iter()
        .map(|(&file, module)| ((module.root, module.names.as_slice()), file))
        .collect();
    let mut graph = Graph::new();
    for (&file, module) in &modules {
        let imported = module.imports.iter().filter(|import| !import.is_reexport);
        for path in imported.map(|import| &import.path).chain(&module.paths) {
            let Some(names) = absolute(module, &path.segments, &files) else { continue };
            let Some(to) = resolve(module.root, names, &modules, &files, 8) else { continue };
            let is_outer = modules.get(to).is_some_and(|to| module.names.starts_with(&to.names));
            if !is_outer {
                graph.entry(file.into()).or_default().entry(to.into()).or_insert(path.line);
            }
        }
    }
    graph
}

fn module<'a>(source: &Source, roots: &BTreeSet<&'a str>) -> Option<Module<'a>> {
    let code = &source.rust.as_ref()?.code;
    let folders = source.path.match_indices('/').map(|(place, _)| place).rev();
    let root = folders.filter_map(|place| roots.get(source.path.get(..place)?)).next()?;
    let inside = source.path.get(root.len() + 1..)?.strip_suffix(".rs")?;
    let mut names: Vec<String> = inside.split('/').map(str::to_owned).collect();
    if names.last().is_some_and(|name| matches!(name.as_str(), "mod" | "lib" | "main")) {
        names.pop();
    }
    let end = code.find("#[cfg(test)]\nmod ").unwrap_or(code.len());
    let code = code.get(..end)?;
    let mut imports = Vec::new();
    let mut rest = String::new();
    let mut statement: Option<(usize, bool, String)> = None;
    for (index, line) in code.lines().enumerate() {
        if statement.is_none()
            && let Some((visibility, tree)) = use_statement(line)
        {
            statement = Some((index + 1, visibility, tree.to_owned()));
        } else if let Some((_, _, text)) = &mut statement {
            text.push_str(line);
        } else {
            rest.push_str(line);
        }
        rest.push('\n');
        if let Some((line, is_reexport, text)) =
            statement.take_if(|(_, _, text)| text.contains(';'))
        {
            expand(text.trim_end_matches(';'), &[], &mut |segments, name| {
                let path = Path { line, segments };
                imports.push(Import { path, name, is_reexport });
            });
        }
    }
    Some(Module { root, names, imports, paths: paths(&rest) })
}

/// The tree of a line that begins a `use`, and whether it is for others.
fn use_statement(line: &str) -> Option<(bool, &str)> {
    let line = line.trim_start();
    if let Some(tree) = line.strip_prefix("use ") {
        return Some((false, tree));
    }
    let (visibility, tree) = line.split_once(" use ")?;
    (visibility == "pub" || (visibility.starts_with("pub(") && visibility.ends_with(')')))
        .then_some((true, tree))
}

/// Every path of a `use` tree with its name.
fn expand(tree: &str, before: &[String], found: &mut dyn FnMut(Vec<String>, String)) {
    let tree = tree.trim();
    if let Some((head, inner)) = tree.split_once('{') {
        let head = segments(head.trim().trim_end_matches("::"));
        let before = [before, &head].concat();
        let inner = inner.rsplit_once('}').map_or(inner, |(inner, _)| inner);
        for part in top_level(inner) {
            expand(part, &before, found);
        }
        return;
    }
    let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
    let mut path = [before, &segments(path.trim())].concat();
    if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
        path.pop();
    }
    let name = if name.is_empty() { path.last().cloned().unwrap_or_default() } else { name.into() };
    if !path.is_empty() {
        found(path, name.trim().to_owned());
    }
}

fn segments(path: &str) -> Vec<String> {
    path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// The parts between commas that stand in no braces of their own.
fn top_level(list: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    list.split(|character| {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
    .filter(|part| !part.trim().is_empty())
    .collect()
}

/// Every path of two or more names in code.
fn paths(code: &str) -> Vec<Path> {
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let is_path = |character: char| character.is_alphanumeric() || "_:".contains(character);
        for word in line.split(|character| !is_path(character)) {
            let segments = segments(word);
            if segments.len() > 1 {
                found.push(Path { line: index + 1, segments });
            }
        }
    }
    found
}

type Files<'a> = HashMap<(&'a str, &'a [String]), &'a str>;

/// A path of a module as names from the crate's root; none if it leads elsewhere.
fn absolute(module: &Module<'_>, path: &[String], files: &Files<'_>) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    let parent = || module.names.split_last().map(|(_, parent)| parent.to_vec());
    let base = match first.as_str() {
        "crate" => Vec::new(),
        "self" => module.names.clone(),
        "super" => {
            let supers = rest.iter().take_while(|name| *name == "super").count();
            let mut base = parent()?;
            base.truncate(base.len().saturating_sub(supers));
            return Some([base.as_slice(), rest.get(supers..)?].concat());
        }
        name => {
            let inner = [module.names.as_slice(), std::slice::from_ref(first)].concat();
            if files.contains_key(&(module.root, inner.as_slice())) {
                return Some([inner.as_slice(), rest].concat());
            }
            let alias = module.imports.iter().find(|import| import.name == name)?;
            let outside =
                !matches!(alias.path.segments.first()?.as_str(), "crate" | "super" | "self");
            if outside {
                return None;
            }
            let base = absolute(module, &alias.path.segments, files)?;
            return Some([base.as_slice(), rest].concat());
        }
    };
    Some([base.as_slice(), rest].concat())
}

/// The file that has what the names say, through the lists of names that indexes pass on.
fn resolve<'a>(
    root: &str,
    names: Vec<String>,
    modules: &BTreeMap<&'a str, Module<'a>>,
    files: &Files<'a>,
    depth: usize,
) -> Option<&'a str> {
    let known = |length: &usize| files.contains_key(&(root, &names[..*length]));
    let length = (0..=names.len()).rev().find(known)?;
    let file = *files.get(&(root, &names[..length]))?;
    let module = modules.get(file)?;
    let passed_on = names.get(length).filter(|_| depth > 0).and_then(|name| {
        let import =
            module.imports.iter().find(|import| import.is_reexport && import.name == *name)?;
        let base = absolute(module, &import.path.segments, files)?;
        resolve(root, [base.as_slice(), &names[length + 1..]].concat(), modules, files, depth - 1)
    });
    Some(passed_on.unwrap_or(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> =
            files.iter().map(|(path, text)| Source::new(path, text)).collect();
        let all = graph(&sources);
        let pairs = all.iter().flat_map(|(from, to)| to.keys().map(move |to| (from, to)));
        let short = |path: &str| path.trim_start_matches("x/src/").to_owned();
        pairs.map(|(from, to)| format!("{} {}", short(from), short(to))).collect()
    }

    #[test]
    fn trees_aliases_inner_modules_and_names_passed_on_are_followed() {
        let found = edges(&[
            ("x/src/lib.rs", "mod a;\nmod b;\nmod c;\npub use a::deep::Thing;\n"),
            ("x/src/a/mod.rs", "mod deep;\npub(crate) use deep::Thing;\nfn f() { deep::g() }\n"),
            ("x/src/a/deep.rs", "use super::Outer;\nuse std::fmt;\n"),
            (
                "x/src/b.rs",
                "use crate::{\n    a::{self, Thing as T},\n    c,\n};\nfn f() { c::g() }\n",
            ),
            (
                "x/src/c.rs",
                "fn f() { crate::Thing::new() }\n#[cfg(test)]\nmod tests { use crate::b; }\n",
            ),
        ]);
        let expected = [
            "a/mod.rs a/deep.rs",
            "b.rs a/deep.rs",
            "b.rs a/mod.rs",
            "b.rs c.rs",
            "c.rs a/deep.rs",
        ];
        assert_eq!(found, expected);
    }
}
