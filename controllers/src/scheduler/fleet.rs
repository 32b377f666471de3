//! The nodes with what is taken of each.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use orion_model::Object;
use orion_types::{
    Capacity, Node, Replica,
    process::{PortSpec, Protocol},
};

use super::refusal::Why;

/// A port that one replica holds alone on its node.
pub(super) type HeldPort = (u16, Protocol);

/// What a replica asks of its node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Demand {
    /// Whose copy it is: copies of one owner keep apart where they can.
    pub(super) owner: String,
    /// Thousandths of a core.
    pub(super) cpu: u64,
    /// Bytes.
    pub(super) memory: u64,
    pub(super) ports: Vec<HeldPort>,
}

/// One node and what is taken of it.
pub(super) struct Room {
    pub(super) node: Arc<Node>,
    /// What selectors see, worked out once.
    pub(super) labels: BTreeMap<String, String>,
    capacity: Capacity,
    cpu: u64,
    memory: u64,
    ports: BTreeMap<HeldPort, String>,
    replicas: u32,
    owners: BTreeMap<String, u32>,
}

/// All nodes, by name.
pub(super) struct Fleet {
    rooms: Vec<Room>,
    taken: BTreeSet<usize>,
}

impl Demand {
    /// A port that is written is held alone on its node, however it is allocated: nothing else is built yet.
    pub(super) fn of(replica: &Replica, ports: &[PortSpec]) -> Self {
        let owner = replica.spec.service_name.as_deref().or(replica.spec.run_name.as_deref()).unwrap_or_default();
        let resources = &replica.spec.settings.resources;
        Self {
            owner: format!("{}/{owner}", replica.namespace()),
            cpu: resources.cpu.map_or(0, orion_types::CpuQuantity::millis),
            memory: resources.memory.map_or(0, orion_types::MemoryQuantity::bytes),
            ports: ports.iter().filter_map(|port| port.port.map(|number| (number, port.protocol))).collect(),
        }
    }
}

impl Fleet {
    pub(super) fn of<'a>(nodes: impl IntoIterator<Item = &'a Arc<Node>>) -> Self {
        let mut rooms: Vec<Room> = nodes.into_iter().cloned().map(Room::new).collect();
        rooms.sort_by(|a, b| a.name().cmp(b.name()));
        Self { rooms, taken: BTreeSet::new() }
    }

    /// The nodes, by name.
    pub(super) fn rooms(&self) -> &[Room] {
        &self.rooms
    }

    /// A replica that is there already.
    pub(super) fn hold(&mut self, node: &str, replica: &Replica, demand: &Demand) {
        if let Ok(index) = self.rooms.binary_search_by(|room| room.name().cmp(node)) {
            self.rooms[index].hold(replica.name(), demand);
        }
    }

    /// A replica that is bound now; its node's name.
    pub(super) fn take(&mut self, index: usize, replica: &Replica, demand: &Demand) -> String {
        self.taken.insert(index);
        self.rooms[index].hold(replica.name(), demand);
        self.rooms[index].name().to_owned()
    }

    /// The nodes that something was bound to.
    pub(super) fn taken(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.taken.iter().map(|index| &self.rooms[*index].node)
    }
}

impl Room {
    fn new(node: Arc<Node>) -> Self {
        Self {
            labels: node.placement_labels(),
            capacity: node.capacity(),
            node,
            cpu: 0,
            memory: 0,
            ports: BTreeMap::new(),
            replicas: 0,
            owners: BTreeMap::new(),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.node.name()
    }

    fn hold(&mut self, replica: &str, demand: &Demand) {
        self.cpu = self.cpu.saturating_add(demand.cpu);
        self.memory = self.memory.saturating_add(demand.memory);
        self.ports.extend(demand.ports.iter().map(|port| (*port, replica.to_owned())));
        self.replicas += 1;
        *self.owners.entry(demand.owner.clone()).or_default() += 1;
    }

    /// Why there is no room for it; a node that says no capacity has no limit.
    pub(super) fn lacks(&self, demand: &Demand) -> Option<Why> {
        for port in &demand.ports {
            if let Some(holder) = self.ports.get(port) {
                return Some(Why::Port { port: *port, holder: holder.clone() });
            }
        }
        let free = |capacity: Option<u64>, used: u64| capacity.map(|capacity| capacity.saturating_sub(used));
        let cpu = free(self.capacity.cpu.map(orion_types::CpuQuantity::millis), self.cpu);
        if let Some(free) = cpu.filter(|free| demand.cpu > *free) {
            return Some(Why::Cpu { needs: demand.cpu, free });
        }
        let memory = free(self.capacity.memory.map(orion_types::MemoryQuantity::bytes), self.memory);
        let free = memory.filter(|free| demand.memory > *free)?;
        Some(Why::Memory { needs: demand.memory, free })
    }

    /// How good a place it is, the smallest best: an agent of this build, few copies of the same owner, much room left,
    /// few replicas.
    pub(super) fn score(&self, demand: &Demand) -> impl Ord + use<> {
        let copies = self.owners.get(&demand.owner).copied().unwrap_or_default();
        (self.node.is_legacy(), copies, self.load(demand), self.replicas)
    }

    /// How full it would be, in thousandths, over CPU and memory.
    fn load(&self, demand: &Demand) -> u64 {
        let share = |used: u64, capacity: Option<u64>| match capacity {
            Some(capacity) if capacity > 0 => used.saturating_mul(1000) / capacity,
            Some(_) | None => 0,
        };
        let cpu = share(self.cpu + demand.cpu, self.capacity.cpu.map(orion_types::CpuQuantity::millis));
        let bytes = self.memory.saturating_add(demand.memory);
        let memory = share(bytes, self.capacity.memory.map(orion_types::MemoryQuantity::bytes));
        cpu.saturating_add(memory) / 2
    }
}
