//! Recording what a node does, so that it replays bit for bit in the simulator.
//!
//! The calls made to the core and what cryptography answered go into one log, in the order in which
//! they happened; a thread of its own writes it, so that the disk slows the task only when it is
//! slower than the recording.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use spinglass_core::MemberId;
use spinglass_core::crypto::{
    Crypto, Domain, Epoch, Hash, LinkKey, Offer, PublicKey, Salt, SealedKey, Signature, TAG_BYTES,
};
use spinglass_core::identity::{Chain, Claims, Refusal};
use spinglass_core::record::{Entry, Recorder};

/// Bytes gathered before they are handed to the writer.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that may wait for the disk. When full, the task waits: a recording must be whole.
const CHUNKS_MAX: usize = 32;

/// The log of one node. Clones append to the same.
#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<Gathered>>);

struct Gathered {
    bytes: Vec<u8>,
    chunks: Option<SyncSender<Vec<u8>>>,
    writer: Option<JoinHandle<()>>,
}

impl Log {
    /// Begins a recording; a file of that name is overwritten.
    ///
    /// # Errors
    /// The file can't be made.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        let (chunks, waiting) = sync_channel(CHUNKS_MAX);
        let thread = std::thread::Builder::new().name("spinglass-record".into());
        let writer = thread.spawn(move || write_chunks(file, &waiting))?;
        let bytes = Vec::with_capacity(2 * CHUNK_BYTES);
        let gathered = Gathered { bytes, chunks: Some(chunks), writer: Some(writer) };
        Ok(Self(Arc::new(Mutex::new(gathered))))
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, entry: &Entry<'_>) {
        let mut gathered = self.lock();
        entry.encode(&mut gathered.bytes);
        if gathered.bytes.len() >= CHUNK_BYTES {
            gathered.hand_over();
        }
    }
}

impl Gathered {
    fn hand_over(&mut self) {
        let chunk = std::mem::replace(&mut self.bytes, Vec::with_capacity(2 * CHUNK_BYTES));
        if let Some(chunks) = &self.chunks {
            // A writer that is gone has said why.
            let _ = chunks.send(chunk);
        }
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        self.hand_over();
        self.chunks = None;
        if let Some(writer) = self.writer.take() {
            // It can't have panicked, and there is nobody left to tell.
            let _ = writer.join();
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Log")
    }
}

fn write_chunks(mut file: File, chunks: &Receiver<Vec<u8>>) {
    for chunk in chunks {
        if let Err(error) = file.write_all(&chunk) {
            tracing::error!(%error, "the recording ends here: it can't be written");
            return;
        }
    }
}

impl Recorder for Log {
    fn record(&mut self, entry: &Entry<'_>) {
        self.append(entry);
    }
}

/// Cryptography that also writes down what it answered; never a key.
#[derive(Debug)]
pub struct RecordingCrypto<C> {
    crypto: C,
    log: Log,
}

impl<C: Crypto> RecordingCrypto<C> {
    pub(crate) const fn new(crypto: C, log: Log) -> Self {
        Self { crypto, log }
    }

    fn exchanged(&self, answer: Option<&[u8]>) {
        self.log.append(&Entry::Exchanged(answer.map(Cow::Borrowed)));
    }
}

impl<C: Crypto> Crypto for RecordingCrypto<C> {
    fn public_key(&self) -> PublicKey {
        self.crypto.public_key()
    }

    fn sign(&mut self, message: &[u8]) -> Signature {
        let signature = self.crypto.sign(message);
        self.log.append(&Entry::Signed(signature.0));
        signature
    }

    fn verify(&mut self, signer: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        let good = self.crypto.verify(signer, message, signature);
        self.log.append(&Entry::Verified(good));
        good
    }

    /// Not recorded: hashes are the same everywhere.
    fn hash(&mut self, domain: Domain, message: &[u8]) -> Hash {
        self.crypto.hash(domain, message)
    }

    fn hash_many(&mut self, domain: Domain, messages: &[&[u8]], hashes: &mut Vec<Hash>) {
        self.crypto.hash_many(domain, messages, hashes);
    }

    fn link_key(
        &mut self,
        epoch: Epoch,
        sender: &MemberId,
        salt: &Salt,
        generation: u32,
    ) -> Option<LinkKey> {
        let key = self.crypto.link_key(epoch, sender, salt, generation);
        self.log.append(&Entry::LinkKey(key.map(|key| key.0)));
        key
    }

    fn forget(&mut self, key: LinkKey) {
        self.crypto.forget(key);
    }

    fn new_epoch(&mut self, epoch: Epoch) -> Option<Hash> {
        let hash = self.crypto.new_epoch(epoch);
        self.exchanged(hash.as_ref().map(|hash| &hash.0[..]));
        hash
    }

    fn epoch_hash(&mut self, epoch: Epoch) -> Option<Hash> {
        let hash = self.crypto.epoch_hash(epoch);
        self.exchanged(hash.as_ref().map(|hash| &hash.0[..]));
        hash
    }

    fn offer(&mut self) -> Offer {
        let offer = self.crypto.offer();
        self.exchanged(Some(&offer.0));
        offer
    }

    fn seal_epoch(&mut self, epoch: Epoch, to: &Offer, context: &[u8]) -> Option<SealedKey> {
        let sealed = self.crypto.seal_epoch(epoch, to, context);
        self.exchanged(sealed.as_ref().map(|sealed| &sealed.0[..]));
        sealed
    }

    fn open_epoch(
        &mut self,
        epoch: Epoch,
        sealed: &SealedKey,
        context: &[u8],
        expected: &Hash,
    ) -> bool {
        let is_it = self.crypto.open_epoch(epoch, sealed, context, expected);
        self.exchanged(is_it.then_some(&[]));
        is_it
    }

    fn forget_epoch(&mut self, epoch: Epoch) {
        self.crypto.forget_epoch(epoch);
    }

    fn add_revocations(&mut self, list: &[u8], certifiers: &[&[u8]]) -> Result<Hash, Refusal> {
        let issuer = self.crypto.add_revocations(list, certifiers);
        self.exchanged(issuer.as_ref().ok().map(|issuer| &issuer.0[..]));
        issuer
    }

    fn trust_roots(&mut self, roots: &[Vec<u8>]) -> Result<(), Refusal> {
        let trusted = self.crypto.trust_roots(roots);
        self.exchanged(trusted.is_ok().then_some(&[]));
        trusted
    }

    fn is_revoked(&mut self, chain: &Chain, wall_s: u64) -> bool {
        let is_revoked = self.crypto.is_revoked(chain, wall_s);
        self.exchanged(is_revoked.then_some(&[]));
        is_revoked
    }

    fn seal(
        &mut self,
        key: LinkKey,
        counter: u64,
        header: &[u8],
        frames: &mut [u8],
    ) -> [u8; TAG_BYTES] {
        let hash = self.crypto.hash(Domain::Leaf, frames);
        self.log.append(&Entry::Sealed { frames: hash, bytes: frames.len() });
        self.crypto.seal(key, counter, header, frames)
    }

    fn verify_certificate(&mut self, chain: &Chain, wall_s: u64) -> Result<Claims, Refusal> {
        let answer = self.crypto.verify_certificate(chain, wall_s);
        self.log.append(&Entry::Certified(answer.clone().map(Box::new)));
        answer
    }

    fn open(&mut self, key: LinkKey, counter: u64, header: &[u8], sealed: &mut [u8]) -> bool {
        let good = self.crypto.open(key, counter, header, sealed);
        let frames = sealed.get(..sealed.len().saturating_sub(TAG_BYTES)).unwrap_or_default();
        self.log.append(&Entry::Opened(good.then_some(Cow::Borrowed(frames))));
        good
    }
}
