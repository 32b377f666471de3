//! What a hello must be like.

use orion_types::{
    dns_label::{MAX_LABEL, is_dns_label, to_dns_label},
    protocol::{Hello, PROTOCOL},
};

use super::frame::Close;

/// Labels of a node at most.
const MAX_LABELS: usize = 64;
/// The longest text a hello may have in one field.
const MAX_TEXT: usize = 253;
/// The longest agent or instance id.
const MAX_ID: usize = 64;

/// Gives an original agent's node a name that can stand: original agents take whatever their host is called.
pub(super) fn name_original(hello: &mut Hello) {
    if hello.protocol.is_some() || is_dns_label(&hello.name) {
        return;
    }
    let label = [&hello.name, &hello.node_id].into_iter().find_map(|name| to_dns_label(name, MAX_LABEL));
    if let Some(label) = label {
        tracing::info!(said = hello.name, node = label, "an original agent's name is made a DNS label");
        hello.name = label;
    }
}

/// Checks the first frame.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(hello: &Hello) -> Result<(), Close> {
    let name = &hello.name;
    if !is_dns_label(name) {
        let shown: String = name.chars().take(30).collect();
        let proposal = to_dns_label(name, MAX_LABEL).map(|label| format!("; use {label:?}")).unwrap_or_default();
        return Err(Close::policy(format!("hello: name: {shown:?} is not a DNS label{proposal}")));
    }
    if let Some(range) = hello.protocol {
        if !(range.min..=range.max).contains(&PROTOCOL) {
            let (min, max) = (range.min, range.max);
            return Err(Close::protocol_error(format!(
                "hello: protocol: {min} to {max} is spoken there, {PROTOCOL} here: install a matching release"
            )));
        }
        if hello.agent_id.is_empty() || hello.instance_id.is_empty() {
            return Err(Close::policy("hello: agentId and instanceId are needed with protocol"));
        }
    }
    bounded("nodeId", &hello.node_id, MAX_TEXT)?;
    bounded("address", &hello.address, MAX_TEXT)?;
    bounded("agentVersion", &hello.agent_version, MAX_ID)?;
    bounded("agentId", &hello.agent_id, MAX_ID)?;
    bounded("instanceId", &hello.instance_id, MAX_ID)?;
    if hello.labels.len() > MAX_LABELS {
        return Err(Close::policy(format!("hello: labels: {} are more than {MAX_LABELS}", hello.labels.len())));
    }
    for (label, value) in &hello.labels {
        bounded("labels", label, MAX_TEXT)?;
        bounded("labels", value, MAX_TEXT)?;
    }
    Ok(())
}

fn bounded(field: &str, text: &str, max: usize) -> Result<(), Close> {
    let is_clean = !text.chars().any(char::is_control);
    if text.len() > max {
        Err(Close::policy(format!("hello: {field}: {} bytes are more than {max}", text.len())))
    } else if !is_clean {
        Err(Close::policy(format!("hello: {field}: holds control characters")))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use orion_types::protocol::ProtocolRange;

    use super::*;

    fn hello(change: impl FnOnce(&mut Hello)) -> Hello {
        let mut hello = Hello {
            name: "node-1".into(),
            protocol: Some(ProtocolRange { min: 1, max: 1 }),
            agent_id: "a".into(),
            instance_id: "1".into(),
            ..Hello::default()
        };
        change(&mut hello);
        hello
    }

    #[test]
    fn only_an_original_agents_name_is_made_a_label() {
        let table =
            [("My-Laptop.local", "n", "my-laptop-local"), ("web", "n", "web"), ("", "Node 7", "node-7"), ("", "", "")];
        for (name, node_id, expected) in table {
            let mut hello = Hello { name: name.into(), node_id: node_id.into(), ..Hello::default() };
            name_original(&mut hello);
            assert_eq!(hello.name, expected, "{name:?}");
        }
        let mut known = hello(|hello| hello.name = "My-Laptop".into());
        name_original(&mut known);
        assert!(check(&known).is_err());
    }

    #[test]
    fn a_hello_is_checked_whole() {
        assert_eq!(check(&hello(|_| {})), Ok(()));
        assert_eq!(check(&hello(|hello| hello.protocol = Some(ProtocolRange { min: 0, max: 9 }))), Ok(()));
        let original = |hello: &mut Hello| {
            hello.protocol = None;
            hello.agent_id.clear();
        };
        assert_eq!(check(&hello(original)), Ok(()));
        type Spoil = fn(&mut Hello);
        let table: [(Spoil, &str); 9] = [
            (|h| h.name = "../../etc".into(), "use \"etc\""),
            (|h| h.name.clear(), "not a DNS label"),
            (|h| h.protocol = Some(ProtocolRange { min: 2, max: 3 }), "2 to 3"),
            (|h| h.agent_id.clear(), "agentId"),
            (|h| h.instance_id.clear(), "instanceId"),
            (|h| h.address = "x".repeat(300), "address"),
            (|h| h.node_id = "a\0b".into(), "nodeId"),
            (|h| h.labels = (0..65).map(|n| (n.to_string(), String::new())).collect(), "labels"),
            (|h| drop(h.labels.insert("zone".into(), "x".repeat(300))), "labels"),
        ];
        for (spoil, says) in table {
            let close = check(&hello(spoil)).expect_err(says);
            assert!(close.reason.contains(says), "{}", close.reason);
        }
    }
}
