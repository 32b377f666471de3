//! Orion's controllers: services, jobs, nodes, plugins, configs and the scheduler.
