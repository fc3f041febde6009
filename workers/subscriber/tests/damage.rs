//! The damage matrix: every kind of object of a revision, damaged in every way, at the origin (on disk and in a bucket), at
//! a relay (in its store, and where it reads from) and at the site itself. Asserted for each: the fault's code when nobody
//! has it whole, who gave what when somebody has, that nothing damaged is ever held or extracted, and that it ends well.

#[path = "damage/at_origin.rs"]
mod at_origin;
#[path = "damage/at_relay.rs"]
mod at_relay;
#[path = "damage/at_site.rs"]
mod at_site;
mod fixture;
#[path = "damage/kinds.rs"]
mod kinds;
#[path = "damage/relay.rs"]
mod relay;
#[path = "damage/scene.rs"]
mod scene;
