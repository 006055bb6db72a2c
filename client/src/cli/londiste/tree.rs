//! `status`: the whole set as a tree, and how far each node is.

use std::collections::BTreeMap;

use pgq_client::{Error, redact};
use pgq_replica::cascade::attributes::Attributes;
use serde::Deserialize;
use serde_json::json;

use super::drop::subscribers;
use super::set::{Member, Set, Settings};
use super::site::{Info, Site};
use crate::cli::output::{Format, json_line, visible};
use crate::cli::{Exit, colour, output};

/// A lag above this many seconds is shown in red.
const LONG: f64 = 60.0;
/// Connections at once.
const AT_ONCE: usize = 8;

/// What one node says of itself and of who reads there.
#[derive(Debug, Deserialize)]
struct Look {
    /// Seconds since 1970 by the node's clock.
    now: f64,
    /// Seconds since the last tick of its own queue; none on a leaf.
    ticker_lag: Option<f64>,
    /// By consumer: the time of the tick that it has finished.
    #[serde(default)]
    readers: Option<BTreeMap<String, Option<f64>>>,
    #[serde(default)]
    errors: Option<BTreeMap<String, String>>,
    tables: Tables,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Tables {
    ok: u64,
    half: u64,
    ignored: u64,
}

/// A node of the tree.
struct Node {
    name: String,
    /// None when it is dead or cannot be reached.
    said: Option<(Info, Look)>,
    failure: Option<String>,
}

const LOOK: &str = "
select pg_catalog.json_build_object(
           'now', extract(epoch from pg_catalog.now()),
           'ticker_lag', (select extract(epoch from q.ticker_lag)
                            from pgq.get_queue_info($1) q),
           'readers', (select pg_catalog.json_object_agg(
                                  c.consumer_name,
                                  extract(epoch from pg_catalog.now() operator(pg_catalog.-) c.lag))
                         from pgq.get_consumer_info($1) c),
           'errors', (select pg_catalog.json_object_agg(c.consumer_name, c.cur_error)
                        from pgq_node.get_consumer_info($1) c
                       where c.cur_error is not null),
           'tables', (select pg_catalog.json_build_object(
                                 'ok', pg_catalog.count(*) filter (where t.local and t.is_ok),
                                 'half', pg_catalog.count(*) filter (where t.local and not t.is_ok),
                                 'ignored', pg_catalog.count(*) filter (where not t.local))
                        from (select l.local,
                                     coalesce(l.merge_state, '') operator(pg_catalog.=) 'ok'
                                         as is_ok
                                from londiste.get_table_list($1) l) t))::pg_catalog.text";

fn look(site: &mut Site, queue: &str) -> anyhow::Result<Look> {
    let text = site.value(LOOK, &[queue.into()])?.unwrap_or_default();
    let look = serde_json::from_str(&text);
    Ok(look.map_err(|error| Error::Answer(format!("the node's state: {error}")))?)
}

fn ask(settings: &Settings, name: &str, member: &Member) -> Node {
    let queue = &settings.node.queue;
    let asked = || -> anyhow::Result<(Info, Look)> {
        let mut site = settings.beside(name, &member.location)?;
        let none = || Error::Absent(format!("its database is no node of queue \"{queue}\""));
        let info = site.info(queue)?.ok_or_else(none)?;
        let look = look(&mut site, queue)?;
        Ok((info, look))
    };
    let (said, failure) = match (member.dead, asked) {
        (true, _) => (None, None),
        (false, asked) => match asked() {
            Ok(said) => (Some(said), None),
            Err(error) => (None, Some(first_line(&redact(&format!("{error:#}"))))),
        },
    };
    Node { name: name.to_owned(), said, failure }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Ask all nodes.
fn ask_all(set: &Set) -> BTreeMap<String, Node> {
    let settings = &set.settings;
    let members: Vec<_> = set.members.iter().collect();
    let mut nodes = BTreeMap::new();
    for some in members.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let asked: Vec<_> = some
                .iter()
                .map(|(name, member)| scope.spawn(move || ask(settings, name, member)))
                .collect();
            for node in asked.into_iter().flat_map(std::thread::ScopedJoinHandle::join) {
                nodes.insert(node.name.clone(), node);
            }
        });
    }
    nodes
}

/// `status`.
pub(super) fn status(set: &Set, compact: bool, format: Format) -> anyhow::Result<Exit> {
    let nodes = ask_all(set);
    let tree = Tree { nodes: &nodes };
    match format {
        Format::Json => {
            for node in nodes.values() {
                json_line(tree.json(node).to_string())?;
            }
        }
        Format::Table => {
            for node in nodes.values() {
                if let Some(failure) = &node.failure {
                    output::line(&format!("Node '{}' failure: {failure}", node.name))?;
                }
            }
            output::line(&format!("Queue: {}   Local node: {}", set.queue, set.own.node_name))?;
            output::line("")?;
            for root in tree.roots() {
                let mut lines = Vec::new();
                match compact {
                    true => tree.compact(root, "", &mut lines),
                    false => {
                        let rest = tree.lines(root, "", Vec::new(), &mut lines);
                        lines.extend(rest.into_iter().map(|line| beside("", &line)));
                    }
                }
                for line in lines {
                    output::write(&format!("{line}\n"))?;
                }
            }
        }
    }
    Ok(Exit::Ok)
}

/// `node-status`.
pub(super) fn node_status(set: &mut Set, format: Format) -> anyhow::Result<Exit> {
    let queue = set.queue.clone();
    let look = look(&mut set.here, &queue)?;
    let info = set.own.clone();
    let readers = subscribers(&mut set.here, &queue)?;
    let lag = match (info.is_leaf(), info.provider_node.clone()) {
        (true, Some(provider)) => {
            let there = set.site(&provider).and_then(|site| self::look(site, &queue));
            there.ok().and_then(|there| lag_behind(&there, &info, there.now))
        }
        _ => look.ticker_lag,
    };
    let provider = info.provider_node.clone().unwrap_or_default();
    match format {
        Format::Json => {
            let mut object = of_node(&info, &look, lag);
            if let Some(fields) = object.as_object_mut() {
                fields.insert("subscribers".to_owned(), json!(readers));
            }
            json_line(object.to_string())?;
        }
        Format::Table => {
            output::line(&title(&info.node_name, &info.node_type))?;
            output::line(&format!("    Provider: {provider}"))?;
            output::line(&format!("    Subscribers: {}", readers.join(", ")))?;
            for line in facts(&info, &look, lag) {
                output::write(&format!("    {line}\n"))?;
            }
        }
    }
    Ok(Exit::Ok)
}

fn lag_behind(provider: &Look, info: &Info, root_now: f64) -> Option<f64> {
    let time = provider.readers.as_ref()?.get(&info.worker_name).copied().flatten()?;
    Some((root_now - time).max(0.0))
}

struct Tree<'n> {
    nodes: &'n BTreeMap<String, Node>,
}

impl<'n> Tree<'n> {
    fn parent(&self, node: &Node) -> Option<&'n Node> {
        let (info, _) = node.said.as_ref()?;
        let provider = info.provider_node.as_ref()?;
        (!info.is_root() && *provider != node.name).then(|| self.nodes.get(provider)).flatten()
    }

    fn top<'a>(&self, node: &'a Node) -> &'a Node
    where
        'n: 'a,
    {
        let mut top = node;
        // Providers in a circle are no tree.
        for _ in 0..self.nodes.len() {
            match self.parent(top) {
                Some(parent) => top = parent,
                None => break,
            }
        }
        top
    }

    /// Nodes without a provider that is known.
    fn roots(&self) -> Vec<&'n Node> {
        self.nodes.values().filter(|node| self.parent(node).is_none()).collect()
    }

    fn children(&self, node: &Node) -> Vec<&'n Node> {
        let is_child = |other: &&'n Node| self.parent(other).is_some_and(|up| up.name == node.name);
        let mut children: Vec<_> = self.nodes.values().filter(is_child).collect();
        children.sort_by_key(|child| (self.children(child).len(), child.name.clone()));
        children
    }

    fn lag(&self, node: &Node) -> Option<f64> {
        let (info, look) = node.said.as_ref()?;
        let Some(parent) = self.parent(node) else { return look.ticker_lag };
        let (_, root) = self.top(node).said.as_ref()?;
        lag_behind(&parent.said.as_ref()?.1, info, root.now)
    }

    fn title(node: &Node) -> String {
        title(&node.name, node.said.as_ref().map_or("dead", |(info, _)| &info.node_type))
    }

    fn facts(&self, node: &Node) -> Vec<String> {
        let said = node.said.as_ref();
        said.map(|(info, look)| facts(info, look, self.lag(node))).unwrap_or_default()
    }

    /// The node's line and its subtree's; facts that are not printed yet come back.
    fn lines(
        &self,
        node: &Node,
        prefix: &str,
        facts: Vec<String>,
        lines: &mut Vec<String>,
    ) -> Vec<String> {
        lines.extend(facts.iter().map(|fact| beside(&end_with(prefix, "|"), fact)));
        lines.push(format!("{}{}", end_with(prefix, "+--: "), Self::title(node)));
        let mut facts = self.facts(node);
        let children = self.children(node);
        let last = children.len().saturating_sub(1);
        for (index, child) in children.into_iter().enumerate() {
            let more = if index < last { "  |" } else { "   " };
            facts = self.lines(child, &format!("{prefix}{more}"), facts, lines);
        }
        facts
    }

    fn compact(&self, node: &Node, prefix: &str, lines: &mut Vec<String>) {
        let facts: String = self.facts(node).iter().map(|fact| format!("{fact:<30}")).collect();
        let line = format!("{:<60}{facts}", format!("{prefix}{}", Self::title(node)));
        lines.push(line.trim_end().to_owned());
        for child in self.children(node) {
            self.compact(child, &format!("{prefix}   "), lines);
        }
    }

    fn json(&self, node: &Node) -> serde_json::Value {
        match &node.said {
            Some((info, look)) => of_node(info, look, self.lag(node)),
            None => json!({ "node": node.name, "type": "dead", "failure": node.failure }),
        }
    }
}

fn title(name: &str, kind: &str) -> String {
    visible(&format!("{name} ({kind})")).into_owned()
}

fn end_with(prefix: &str, end: &str) -> String {
    match prefix.char_indices().next_back() {
        Some((last, _)) => format!("{}{end}", &prefix[..last]),
        None => prefix.to_owned(),
    }
}

fn beside(prefix: &str, fact: &str) -> String {
    format!("{prefix:<30}{fact}")
}

fn of_node(info: &Info, look: &Look, lag: Option<f64>) -> serde_json::Value {
    let error = look.errors.as_ref().and_then(|errors| errors.get(&info.worker_name));
    json!({
        "node": info.node_name,
        "type": info.node_type,
        "provider": info.provider_node,
        "worker": info.worker_name,
        "tick": info.worker_last_tick,
        "lag": lag,
        "paused": info.worker_paused,
        "uptodate": info.worker_uptodate,
        "tables_ok": look.tables.ok,
        "tables_copying": look.tables.half,
        "tables_ignored": look.tables.ignored,
        "error": error.map(|error| redact(error)),
    })
}

fn facts(info: &Info, look: &Look, lag: Option<f64>) -> Vec<String> {
    let Tables { ok, half, ignored } = look.tables;
    let mut facts = vec![format!("Tables: {ok}/{half}/{ignored}")];
    let mut shown = lag.map_or_else(|| "(n/a)".to_owned(), duration);
    if lag.is_some_and(|lag| lag > LONG) {
        shown = colour::by_severity(&shown, Some("error"), colour::on_stdout());
    }
    let mut line = format!("Lag: {shown}");
    if let Some(tick) = info.worker_last_tick {
        line.push_str(&format!(", Tick: {tick}"));
    }
    if info.worker_paused == Some(true) {
        line.push_str(", PAUSED");
    }
    if info.worker_uptodate == Some(false) {
        line.push_str(", NOT UPTODATE");
    }
    facts.push(line);
    let attributes = info.node_attrs.as_deref().map(Attributes::parse).and_then(Result::ok);
    for (name, value) in attributes.iter().flat_map(Attributes::iter) {
        facts.push(visible(&format!("Attr: {name}={value}")).into_owned());
    }
    for (consumer, error) in look.errors.iter().flatten() {
        let error = redact(&first_line(error));
        facts.push(visible(&format!("ERR: {consumer}: {error}")).into_owned());
    }
    facts
}

/// Seconds as `1d2h3m4s`.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a lag is no negative number, and as many seconds are a geological age"
)]
fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let mut text = String::new();
    for (unit, length, whole) in [("d", 86_400, u64::MAX), ("h", 3600, 24), ("m", 60, 60)] {
        let number = seconds / length % whole;
        if number > 0 {
            text.push_str(&format!("{number}{unit}"));
        }
    }
    format!("{text}{}s", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::{duration, end_with};

    #[test]
    fn a_lag_is_told_in_its_units() {
        for (seconds, text) in
            [(0.4, "0s"), (59.9, "59s"), (61.0, "1m1s"), (90_061.0, "1d1h1m1s"), (-1.0, "0s")]
        {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn a_branch_ends_the_line_above() {
        assert_eq!(end_with("", "+--: "), "");
        assert_eq!(end_with("   ", "+--: "), "  +--: ");
    }
}
