//! Random histories against a reference model: appends, crashes, power cuts, full disks, damage, lost and
//! doubled frames, restored databases. Whatever happened, at the end every click is committed once, or
//! declared lost, and both are the clicks the model says.

use super::faulty::FaultyDisk;
use super::kit::*;
use crate::clicks::spool::format::{RecordBuf, SLOT_LEN};
use crate::clicks::spool::reader::{Read, Reader};
use crate::clicks::spool::segment::{Place, Step, len_to, lock, step};
use crate::clicks::spool::state::Spool;
use crate::clicks::spool::{Appended, SpoolConfig, SpoolSet, Writer};
use proptest::prelude::*;
use shared::frame::{self, Fit};
use shared::keys::Watermark;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use uuid::Uuid;

/// What can happen.
#[derive(Clone, Debug)]
enum Event {
    /// So many clicks, with upkeep between them or not.
    Append {
        clicks: u64,
        tended: bool,
    },
    Sync,
    Tend,
    /// Frames are read and reach the database or not, once or twice.
    Ship {
        frames: usize,
        arrives: u64,
        doubled: bool,
    },
    /// `kill -9` and a new start.
    Crash,
    /// The power goes, and what was not synced with it.
    PowerCut,
    /// The writer ends and another begins.
    Roll,
    /// The disk has room for so many segments more.
    Room(u64),
    /// The next sync is refused.
    SyncFails,
    /// A bit of a record flips, if one is on disk and read by nobody.
    Flip {
        record: prop::sample::Index,
        at: prop::sample::Index,
    },
    /// The database is saved...
    Save,
    /// ...and put back.
    Restore,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1u64..150, any::<bool>()).prop_map(|(clicks, tended)| Event::Append { clicks, tended }),
        2 => Just(Event::Sync),
        3 => Just(Event::Tend),
        5 => (1usize..6, any::<u64>(), any::<bool>())
            .prop_map(|(frames, arrives, doubled)| Event::Ship { frames, arrives, doubled }),
        2 => Just(Event::Crash),
        1 => Just(Event::PowerCut),
        1 => Just(Event::Roll),
        1 => (0u64..3).prop_map(Event::Room),
        1 => Just(Event::SyncFails),
        1 => (any::<prop::sample::Index>(), any::<prop::sample::Index>())
            .prop_map(|(record, at)| Event::Flip { record, at }),
        1 => Just(Event::Save),
        1 => Just(Event::Restore),
    ]
}

/// What is committed of a spool.
#[derive(Clone, Default, Debug)]
struct Row {
    next_seq: u64,
    lost: u64,
    numbers: Vec<u64>,
    /// First sequence and bytes of the last frame taken.
    last: Option<(u64, u64)>,
}

/// What the model knows of a spool.
#[derive(Default, Debug)]
struct Fate {
    /// Numbers by sequence; `None` was lost at once.
    clicks: Vec<Option<u64>>,
    /// Sequences that were damaged while they could still have been needed.
    damaged: BTreeSet<u64>,
    /// Sequences from here on may be gone with the power.
    unsure_from: Option<u64>,
    /// Below this, a sync said yes.
    synced: u64,
    /// Sequences a refused sync left to the power.
    distrusted: BTreeSet<u64>,
    /// The highest watermark there ever was.
    committed_once: u64,
    /// Sequences a restored database asked for in vain.
    not_kept: BTreeSet<u64>,
}

struct World {
    dir: TempDir,
    disk: Arc<FaultyDisk>,
    set: Arc<SpoolSet>,
    writer: Option<Writer>,
    live: Uuid,
    readers: BTreeMap<Uuid, Reader>,
    fates: BTreeMap<Uuid, Fate>,
    rows: BTreeMap<Uuid, Row>,
    saved: BTreeMap<Uuid, Row>,
    epoch: u64,
    next_number: u64,
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let disk = Arc::new(FaultyDisk::with_room(u64::MAX / 2));
        let set = Self::open(&dir, &disk);
        let mut world = Self {
            dir,
            disk,
            set,
            writer: None,
            live: Uuid::nil(),
            readers: BTreeMap::new(),
            fates: BTreeMap::new(),
            rows: BTreeMap::new(),
            saved: BTreeMap::new(),
            epoch: 1,
            next_number: 0,
        };
        world.new_writer();
        world
    }

    fn open(dir: &TempDir, disk: &Arc<FaultyDisk>) -> Arc<SpoolSet> {
        let config = SpoolConfig { retain_for: Duration::from_hours(1), ..config(dir) };
        SpoolSet::open_on(config, disk.clone()).unwrap()
    }

    fn new_writer(&mut self) {
        drop(self.writer.take());
        let before: BTreeSet<_> = self.set.spools().iter().map(|spool| spool.id).collect();
        self.writer = Some(self.set.writer());
        let spools = self.set.spools();
        self.live = spools.iter().find(|spool| !before.contains(&spool.id)).unwrap().id;
        self.fates.insert(self.live, Fate::default());
    }

    fn spool(&self, id: Uuid) -> Option<Arc<Spool>> {
        self.set.spools().into_iter().find(|spool| spool.id == id)
    }

    fn step(&mut self, event: &Event) {
        match event {
            Event::Append { clicks, tended } => self.append(*clicks, *tended),
            Event::Sync => self.sync(),
            Event::Tend => self.set.tend(Instant::now()),
            Event::Ship { frames, arrives, doubled } => self.ship(*frames, *arrives, *doubled),
            Event::Crash => {
                self.stop();
                self.set = Self::open(&self.dir, &self.disk);
                self.new_writer();
            }
            Event::PowerCut => self.power_cut(),
            Event::Roll => self.new_writer(),
            Event::Room(segments) => self.disk.room.store(segments * SEGMENT_BYTES, Ordering::SeqCst),
            Event::SyncFails => self.disk.sync_fails.store(true, Ordering::SeqCst),
            Event::Flip { record, at } => self.flip(*record, *at),
            Event::Save => self.saved = self.rows.clone(),
            Event::Restore => {
                self.rows = self.saved.clone();
                self.epoch += 1;
                self.readers.clear();
            }
        }
    }

    fn append(&mut self, clicks: u64, tended: bool) {
        let spool = self.spool(self.live).unwrap();
        for _ in 0..clicks {
            let number = self.next_number;
            self.next_number += 1;
            let writer = self.writer.as_mut().unwrap();
            let seq = writer.next().seq;
            let stored = with_click(number, |click| writer.append(click)) == Appended::Stored;
            let fate = self.fates.get_mut(&self.live).unwrap();
            assert_eq!(fate.clicks.len() as u64, seq);
            fate.clicks.push(stored.then_some(number));
            // No other segment was ready: it went into the one whose sync was refused.
            if spool.roll.load(Ordering::SeqCst) {
                fate.distrusted.insert(seq);
            }
            if tended {
                self.set.tend(Instant::now());
            }
        }
    }

    fn sync(&mut self) {
        let fails = self.disk.sync_fails.load(Ordering::SeqCst);
        self.set.sync();
        if fails && !self.disk.sync_fails.load(Ordering::SeqCst) {
            // Some segment of some spool was refused: none of what is not synced yet is promised.
            for fate in self.fates.values_mut() {
                let all = fate.clicks.len() as u64;
                fate.distrusted.extend(fate.synced..all);
                fate.synced = all;
            }
        } else {
            for fate in self.fates.values_mut() {
                fate.synced = fate.clicks.len() as u64;
            }
        }
    }

    /// Ends the process without a word.
    fn stop(&mut self) {
        if let Some(writer) = self.writer.take() {
            std::mem::forget(writer);
        }
        self.readers.clear();
        self.set.forget();
        self.set.close();
    }

    fn power_cut(&mut self) {
        self.stop();
        self.disk.cut_power(&self.dir.path().join("spool"));
        for fate in self.fates.values_mut() {
            let from = fate.unsure_from.unwrap_or(u64::MAX).min(fate.synced);
            fate.unsure_from = Some(from);
        }
        self.set = Self::open(&self.dir, &self.disk);
        self.new_writer();
    }

    /// Reads some frames of every spool from where it stands, or from the watermark.
    fn ship(&mut self, frames: usize, arrives: u64, doubled: bool) {
        for (turn, spool) in self.set.spools().into_iter().enumerate() {
            let row = self.rows.get(&spool.id).cloned().unwrap_or_default();
            let mut reader = self.readers.remove(&spool.id).unwrap_or_else(|| self.set.reader(&spool));
            if reader.position() < row.next_seq || arrives.is_multiple_of(3) {
                self.seek(&mut reader, spool.id, row.next_seq);
            }
            let mut bytes = Vec::new();
            for frame in 0..frames {
                if !read(&mut reader, &mut bytes) {
                    break;
                }
                if arrives >> ((turn * 7 + frame) % 64) & 1 == 1 {
                    self.commit(spool.id, &bytes);
                    if doubled {
                        self.commit(spool.id, &bytes);
                    }
                }
            }
            self.readers.insert(spool.id, reader);
            self.tell(&spool);
        }
    }

    /// Goes to the watermark. What is gone from there on was committed once.
    fn seek(&mut self, reader: &mut Reader, spool: Uuid, next_seq: u64) {
        let gone = next_seq..next_seq + reader.seek(Some(next_seq));
        let fate = self.fates.get_mut(&spool).unwrap();
        // A power cut may also take a spool's first segment, when its sync was refused.
        let explained = gone.is_empty() || gone.end <= fate.committed_once || fate.unsure_from.is_some();
        assert!(explained, "{gone:?} was freed uncommitted");
        fate.not_kept.extend(gone);
    }

    /// The watermark on its way back.
    fn tell(&self, spool: &Spool) {
        let next_seq = self.rows.get(&spool.id).map_or(0, |row| row.next_seq);
        spool.update(|progress| progress.watermark = Some(Watermark { epoch: self.epoch, next_seq }));
    }

    /// The drainer.
    fn commit(&mut self, spool: Uuid, bytes: &[u8]) {
        let frame = frame::decode(bytes).unwrap();
        assert_eq!(frame.header.spool, spool);
        let row = self.rows.entry(spool).or_default();
        let name = (frame.header.first_seq, frame.checksum);
        // The same name with other bytes is never taken: after a power cut the edge must find another way.
        if !frame.clicks.is_empty() && row.last.is_some_and(|last| last.0 == name.0 && last.1 != name.1) {
            return;
        }
        if let Fit::New { lost, skip, next_seq } = frame.header.fit(frame.clicks.len(), row.next_seq) {
            row.lost += lost;
            row.next_seq = next_seq;
            let fate = self.fates.get_mut(&spool).unwrap();
            fate.committed_once = fate.committed_once.max(next_seq);
            if !frame.clicks.is_empty() {
                row.last = Some(name);
            }
            row.numbers.extend(frame.clicks[skip..].iter().map(|click| click.link.0 - 1));
        }
    }

    /// Flips a bit of some record of a spool nobody writes, in the file.
    fn flip(&mut self, record: prop::sample::Index, at: prop::sample::Index) {
        let mut buf = RecordBuf::new();
        let mut records = Vec::new();
        for spool in self.set.spools().iter().filter(|spool| !spool.live) {
            for segment in lock(&spool.segments).iter() {
                let first_seq = segment.first_seq().unwrap();
                let view =
                    segment.load(&(self.disk.clone() as Arc<dyn crate::clicks::spool::fs::Fs>)).unwrap();
                let mut place = Place::default();
                while let Step::Record { at, slots, .. } =
                    step(&view, segment.seed, &mut place, &mut buf, false)
                {
                    let seq = first_seq + u64::from(at.number);
                    records.push((spool.id, seq, segment.path.clone(), len_to(at.slot), slots));
                }
            }
        }
        if records.is_empty() {
            return;
        }
        let (spool, seq, path, start, slots) = record.get(&records);
        let offset = start + at.index(slots * SLOT_LEN) as u64;
        let file = File::options().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 4], offset).unwrap();
        if !(8..16).contains(&(offset - start)) {
            self.fates.get_mut(spool).unwrap().damaged.insert(*seq);
        }
        // Who has the segment in memory has it undamaged; let them look again.
        self.readers.clear();
    }

    /// Everything heals: what is kept is read to its end and committed.
    fn heal_and_judge(mut self) -> Result<(), TestCaseError> {
        self.disk.room.store(u64::MAX / 2, Ordering::SeqCst);
        self.disk.sync_fails.store(false, Ordering::SeqCst);
        self.set.tend(Instant::now());
        drop(self.writer.take());
        for spool in self.set.spools() {
            let next_seq = self.rows.get(&spool.id).map_or(0, |row| row.next_seq);
            let mut reader = self.set.reader(&spool);
            self.seek(&mut reader, spool.id, next_seq);
            let mut bytes = Vec::new();
            while read(&mut reader, &mut bytes) {
                self.commit(spool.id, &bytes);
            }
            prop_assert!(matches!(reader.next(CLOCK_MS, &mut bytes), Read::End));
        }
        for (id, fate) in &self.fates {
            judge(*id, fate, self.rows.get(id).cloned().unwrap_or_default(), self.spool(*id).is_some())?;
        }
        Ok(())
    }
}

/// The next frame, or the loss at the end; `false` when there is nothing more.
fn read(reader: &mut Reader, bytes: &mut Vec<u8>) -> bool {
    loop {
        match reader.next(CLOCK_MS, bytes) {
            Read::Frame { .. } => return true,
            Read::NeedsDisk(segment) => reader.supply(segment.load().unwrap()),
            Read::Idle | Read::End if reader.has_undeclared_loss() => {
                reader.tail(CLOCK_MS, false, bytes);
                return true;
            }
            Read::Idle | Read::End => return false,
        }
    }
}

/// Compares what is committed of a spool with what the model knows of it.
fn judge(id: Uuid, fate: &Fate, row: Row, kept: bool) -> Result<(), TestCaseError> {
    let accepted = fate.clicks.len() as u64;
    prop_assert_eq!(row.next_seq, row.numbers.len() as u64 + row.lost, "{}: sequences add up", id);
    prop_assert!(row.next_seq <= accepted, "{}: {} of {}", id, row.next_seq, accepted);
    prop_assert!(row.numbers.is_sorted_by(|a, b| a < b), "{}: in order, each once", id);
    let committed: BTreeSet<u64> = row.numbers.iter().copied().collect();
    let power_gone = fate.unsure_from.is_some();
    for (seq, number) in fate.clicks.iter().enumerate() {
        let seq = seq as u64;
        match number {
            Some(number) => {
                let may_be_gone = fate.damaged.contains(&seq)
                    || fate.not_kept.contains(&seq)
                    // Committed, freed, and then the rest of the spool went with the power.
                    || (power_gone && !kept && seq < fate.committed_once)
                    || fate.unsure_from.is_some_and(|from| seq >= from)
                    || (power_gone && fate.distrusted.contains(&seq));
                prop_assert!(
                    committed.contains(number) || may_be_gone,
                    "{}: click {} with sequence {} is missing; {:?}",
                    id,
                    number,
                    seq,
                    (kept, &row)
                );
            }
            None => prop_assert!(seq >= row.next_seq || row.lost > 0),
        }
    }
    let appended: BTreeSet<u64> = fate.clicks.iter().flatten().copied().collect();
    prop_assert!(committed.is_subset(&appended), "{}: nothing is made up", id);
    // Without a power cut the count of losses is exact, damaged records that were needed included.
    let declared_at_once = fate.clicks.iter().filter(|number| number.is_none()).count() as u64;
    let early = fate.clicks.first().is_some_and(Option::is_none);
    if !power_gone && !early {
        prop_assert_eq!(row.next_seq, accepted, "{}: every sequence is accounted for", id);
        let more = (fate.damaged.len() + fate.not_kept.len()) as u64;
        prop_assert!(row.lost >= declared_at_once && row.lost <= declared_at_once + more);
    }
    Ok(())
}

/// So many cases, or as many as `PROPTEST_CASES` asks for.
fn deep(cases: u32) -> ProptestConfig {
    let asked = ProptestConfig::default();
    let unasked = asked.cases == 256;
    ProptestConfig { cases: if unasked { cases } else { asked.cases }, failure_persistence: None, ..asked }
}

proptest! {
    #![proptest_config(deep(40))]

    #[test]
    fn every_history_ends_with_every_click_accounted_for(events in prop::collection::vec(event(), 1..40)) {
        let mut world = World::new();
        for event in &events {
            world.step(event);
        }
        world.heal_and_judge()?;
    }
}
