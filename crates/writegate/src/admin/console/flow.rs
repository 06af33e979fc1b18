//! The flow of samples as a drawing: senders, tenants, endpoints. Lines are as wide as what flows, nodes say in a word how they
//! are doing. With many tenants or endpoints: those in trouble, then the largest; the rest is one node.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::standing::{EndpointSum, Standing, TenantSum, show};
use super::{Scene, paths, said};
use crate::figures::{age, amount, count};

/// Tenants and endpoints that have a node of their own.
const NODES: usize = 7;
/// Height of a node, in the drawing's units; `console.css` says the same in em.
const ROW: usize = 10;
/// Width of a line that carries the most.
const WIDEST: f64 = 16.0;

/// A node, and which of the others it stands for.
struct Node {
    href: String,
    name: String,
    figures: String,
    standing: Standing,
    word: String,
    rate: f64,
}

/// A line from one node to another.
#[derive(Clone, Copy)]
struct Line {
    rate: f64,
    standing: Standing,
}

pub(super) fn flow(scene: &Scene<'_>, tenants: &[TenantSum<'_>], endpoints: &[EndpointSum<'_>]) -> Markup {
    let tenant_nodes = tenant_nodes(tenants);
    let endpoint_nodes = endpoint_nodes(endpoints);
    let rows = tenant_nodes.len().max(endpoint_nodes.len()).max(1);
    let received: Vec<_> = (0..tenant_nodes.len()).map(|at| ((at, at), of_node(&tenant_nodes[at]))).collect();
    let delivered = lines(tenants, endpoints);
    let most = received.iter().chain(&delivered).map(|(_, line)| line.rate).fold(0.0, f64::max);
    let connections = scene.app.push_stats.connections.load(std::sync::atomic::Ordering::Relaxed);
    let rate: f64 = tenants.iter().map(|tenant| tenant.status.received_samples_per_second).sum();
    html! {
        div.flow {
            div.column.senders {
                div.node { strong { "senders" } span { (amount(rate)) "/s" } span { (count(connections as u64)) " connected" } }
            }
            (drawing(rows, most, &received, "Samples a second from senders, by tenant"))
            (column("tenants", &tenant_nodes))
            (drawing(rows, most, &delivered, "Samples a second from tenants to endpoints"))
            (column("endpoints", &endpoint_nodes))
        }
    }
}

fn column(class: &str, nodes: &[Node]) -> Markup {
    html! {
        ul class={ "column " (class) } {
            @for node in nodes {
                li class={ "node " (node.standing.tone()) } {
                    a href=(node.href) title=(crate::figures::plain(&node.name)) { (said(&node.name)) }
                    span { (node.figures) }
                    (show(node.standing.tone(), &node.word))
                }
            }
            @if nodes.is_empty() { li.node { span { "none yet" } } }
        }
    }
}

fn tenant_nodes(tenants: &[TenantSum<'_>]) -> Vec<Node> {
    let node = |sum: &TenantSum<'_>| Node {
        href: paths::tenant(&sum.status.tenant),
        name: sum.status.tenant.clone(),
        figures: format!("{}/s", amount(sum.status.received_samples_per_second)),
        standing: sum.standing,
        word: sum.word(),
        rate: sum.status.received_samples_per_second,
    };
    with_rest(tenants.iter().map(node).collect(), "/tenants", "tenants")
}

fn endpoint_nodes(endpoints: &[EndpointSum<'_>]) -> Vec<Node> {
    let node = |sum: &EndpointSum<'_>| Node {
        href: paths::endpoint(sum.name, None),
        name: sum.name.to_owned(),
        figures: format!("{}/s, lag {}", amount(sum.rate), age(sum.lag)),
        standing: sum.standing,
        word: sum.standing.word(),
        rate: sum.rate,
    };
    with_rest(endpoints.iter().map(node).collect(), "/endpoints", "endpoints")
}

/// The first nodes, and one for all others.
fn with_rest(mut nodes: Vec<Node>, href: &str, what: &str) -> Vec<Node> {
    if nodes.len() > NODES + 1 {
        let rest = nodes.split_off(NODES);
        let rate = rest.iter().map(|node| node.rate).sum();
        let standing = rest.iter().map(|node| node.standing).min().unwrap_or(Standing::Idle);
        nodes.push(Node {
            href: href.to_owned(),
            name: format!("{} more {what}", count(rest.len() as u64)),
            figures: format!("{}/s", amount(rate)),
            standing,
            word: standing.word(),
            rate,
        });
    }
    nodes
}

const fn of_node(node: &Node) -> Line {
    Line {
        rate: node.rate,
        standing: if matches!(node.standing, Standing::NotKept | Standing::Limited) {
            node.standing
        } else {
            Standing::Well
        },
    }
}

/// What flows from each node of tenants to each of endpoints.
fn lines(tenants: &[TenantSum<'_>], endpoints: &[EndpointSum<'_>]) -> Vec<((usize, usize), Line)> {
    let node = |at: usize, all: usize| if all > NODES + 1 { at.min(NODES) } else { at };
    let places = endpoints.iter().enumerate();
    let places: BTreeMap<&str, usize> = places.map(|(at, sum)| (sum.name, node(at, endpoints.len()))).collect();
    let mut lines: BTreeMap<(usize, usize), Line> = BTreeMap::new();
    for (at, tenant) in tenants.iter().enumerate() {
        for row in &tenant.rows {
            let Some(to) = places.get(row.endpoint.as_str()) else { continue };
            let standing = Standing::of(row);
            if standing == Standing::Removed {
                continue;
            }
            let line = lines.entry((node(at, tenants.len()), *to)).or_insert(Line { rate: 0.0, standing });
            line.rate += row.delivered_samples_per_second;
            line.standing = line.standing.min(standing);
        }
    }
    lines.into_iter().collect()
}

fn drawing(rows: usize, most: f64, lines: &[((usize, usize), Line)], label: &str) -> Markup {
    let middle = |row: usize| row * ROW + ROW / 2;
    html! {
        svg.lines role="img" aria-label=(label) height={ (rows * 5) "em" }
            viewBox={ "0 0 100 " (rows * ROW) } preserveAspectRatio="none" {
            @for ((from, to), line) in lines {
                @let (from, to) = (middle(*from), middle(*to));
                path class=(line.standing.tone()) vector-effect="non-scaling-stroke" stroke-width=(width(line.rate, most))
                    d={ "M0 " (from) "C50 " (from) " 50 " (to) " 100 " (to) } {}
            }
        }
    }
}

fn width(rate: f64, most: f64) -> String {
    let share = if most > 0.0 { rate / most } else { 0.0 };
    format!("{:.1}", 1.5 + (WIDEST - 1.5) * share)
}
