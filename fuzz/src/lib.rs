//! The bodies of the fuzz targets, included from the tests that run them on the corpus.

#[path = "../../crates/spinglass-core/tests/fuzz/bodies.rs"]
pub mod bodies;
#[path = "../../crates/spinglass-crypto/tests/certificate_files/body.rs"]
pub mod certificate_files;
#[path = "../../crates/spinglass-doors/tests/strange/body.rs"]
pub mod doors;
#[path = "../../crates/spinglass-crypto/tests/key_files/body.rs"]
pub mod key_files;
#[path = "../../crates/spinglass-core/tests/fuzz/member.rs"]
pub mod member;
#[path = "../../crates/spinglass-relay/tests/messages/body.rs"]
pub mod relay_messages;
#[path = "../../crates/spinglass-summary/tests/sql/body.rs"]
pub mod sql;
