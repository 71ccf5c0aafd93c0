//! From an open request to its connection and to its end: numbers, copies, completions.
//!
//! Knows no reply. **Invariant:** a request has a number of its lane from before its first copy to its end, and each copy carries the
//! lane's mark of that moment.

use waterpark_wire::item::{ItemHeader, ItemKind};
use waterpark_wire::link::Ask;
use waterpark_wire::padded;
use waterpark_wire::reply::Outcome;
use waterpark_wire::request::{HERE, REQUEST_HEADER, RequestHeader, SENT_BEFORE};
use zerocopy::FromBytes;
use zerocopy::little_endian::{U16, U32};

use crate::client_core::{ClientCore, MS};
use crate::completion::{Completion, Token};
use crate::error::ClientError;
use crate::lane::Lane;
use crate::peer::Peer;
use crate::requests::{Asks, Request, Stage, Target};
use crate::session::ORDERED;

impl ClientCore {
    /// Gives numbers to what waits for them in a lane and sends it, as far as session and window allow.
    pub(crate) fn feed_lane(&mut self, now_ns: u64, lane_index: u32) {
        let lane = &mut self.lanes[lane_index as usize];
        if !lane.has_session(now_ns) {
            if lane.live > 0 || !self.renew(now_ns, lane_index) {
                return;
            }
            self.rebind(now_ns, lane_index);
        }
        let first = self.lanes[lane_index as usize]
            .first
            .map_or(lane_index, |(first, _)| first);
        loop {
            let waits = !self.lanes[first as usize].waiting.is_empty();
            let lane = &mut self.lanes[lane_index as usize];
            if !waits || !lane.has_session(now_ns) {
                return;
            }
            let Some(number) = lane.take_number() else { return };
            let waiting = &mut self.lanes[first as usize].waiting;
            let index = waiting.pop_front().expect("one waits");
            self.number(index, lane_index, number);
            self.dispatch(now_ns, index);
        }
    }

    /// The lane of an unordered message: the group's first one, or the first after it that has room where that has none. Where something waits for a
    /// number, it is behind that.
    #[inline]
    pub(crate) fn unordered_lane(&mut self, now_ns: u64, first: u32) -> u32 {
        let lane = &self.lanes[first as usize];
        if lane.has_room() || !lane.waiting.is_empty() || self.options.unordered_sessions_max <= 1 {
            return first;
        }
        self.further_lane(now_ns, first).unwrap_or(first)
    }

    fn further_lane(&mut self, now_ns: u64, first: u32) -> Option<u32> {
        let (mut at, mut count) = (first, 1);
        while let Some(next) = self.lanes[at as usize].further {
            (at, count) = (next, count + 1);
            let lane = &self.lanes[at as usize];
            let runs_empty = lane.live == 0 && lane.rebinds.is_empty();
            if lane.has_room() && (lane.has_session(now_ns) || runs_empty && self.renew(now_ns, at)) {
                return Some(at);
            }
        }
        if count >= usize::from(self.options.unordered_sessions_max) {
            return None;
        }
        let next = u32::try_from(self.lanes.len()).expect("groups and sessions are far fewer");
        self.lanes.push(Lane::further(first, count + ORDERED));
        self.lanes[at as usize].further = Some(next);
        self.renew(now_ns, next).then_some(next)
    }

    /// Begins the next session in a lane that has run empty.
    fn renew(&mut self, now_ns: u64, lane_index: u32) -> bool {
        let lane = &mut self.lanes[lane_index as usize];
        let which = lane.first.map_or(lane_index as usize % 2, |(_, which)| which);
        // A group that disagrees about the time has its own sessions, born in its own time.
        let session = match lane.clock {
            Some((now_s, at_ns)) => {
                let birth_s = u64::from(now_s) + now_ns.saturating_sub(at_ns) / (1000 * MS);
                Some(self.births.open(now_ns, birth_s, which == ORDERED))
            }
            None => self.births.shared(now_ns, which),
        };
        let Some(session) = session else { return false };
        lane.adopt(&session);
        true
    }

    /// Requests that the old session did not run get numbers of the new one, in their old order, before any other.
    fn rebind(&mut self, now_ns: u64, lane_index: u32) {
        let lane = &mut self.lanes[lane_index as usize];
        let mut rebinds = std::mem::take(&mut lane.rebinds);
        rebinds.sort_unstable();
        for (_, index) in rebinds {
            let lane = &mut self.lanes[lane_index as usize];
            let number = lane.take_number().expect("no more were open than a window holds");
            self.number(index, lane_index, number);
            self.dispatch(now_ns, index);
        }
    }

    #[inline]
    pub(crate) fn number(&mut self, index: u32, lane_index: u32, number: u32) {
        let lane = &self.lanes[lane_index as usize];
        let row = self.requests.row_mut(index);
        row.lane = lane_index;
        row.number = number;
        row.serial = lane.serial;
        row.session = lane.session;
        row.counted = true;
    }

    /// Sends a copy of a request, or parks it until there is a connection.
    pub(crate) fn dispatch(&mut self, now_ns: u64, index: u32) {
        self.dispatch_by(now_ns, index, |peer, row, stamp, frame_bytes| match row.asks {
            Asks::Document => {
                let (ask, _) = Ask::mut_from_prefix(&mut row.bytes).expect("a question lies whole in its row");
                ask.correlation = stamp.correlation.into();
                peer.push(&row.bytes, &[], frame_bytes);
            }
            Asks::Effect | Asks::Read => peer.push_request(|header| stamp.put(row, header), [&row.bytes], frame_bytes),
        });
    }

    /// Sends the first copy of a message, of which key and message are at hand. They lie in its row as well, where a far store may still be on
    /// its way (see [`Peer::push_request`]).
    #[inline]
    pub(crate) fn dispatch_first(&mut self, now_ns: u64, index: u32, key: &[u8], message: &[u8]) {
        let padding = &[0; 16][..padded(key.len()) - key.len()];
        self.dispatch_by(now_ns, index, |peer, row, stamp, frame_bytes| {
            peer.push_request(|header| stamp.put(row, header), [key, padding, message], frame_bytes);
        });
    }

    #[inline]
    fn dispatch_by(&mut self, now_ns: u64, index: u32, push: impl FnOnce(&mut Peer, &mut Request, &Stamp, usize)) {
        let row = self.requests.row(index);
        let (target, group, deadline_ns) = (row.target, row.group, row.deadline_ns);
        let Some(peer_index) = self.route(now_ns, target, group) else {
            self.requests.row_mut(index).stage = Stage::Parked;
            return self.requests.set_due(index, deadline_ns);
        };
        let peer = &mut self.peers[peer_index as usize];
        if peer.backlog() > self.options.connection_bytes_max {
            // The connection is behind: what it carries now is enough. This one never left.
            self.requests.row_mut(index).stage = Stage::Pausing;
            return self.requests.set_due(index, deadline_ns.min(now_ns + MS));
        }
        let row = self.requests.row_mut(index);
        row.stage = Stage::Flying;
        row.attempts = row.attempts.saturating_add(1);
        row.peer = peer_index;
        if row.asks == Asks::Effect {
            let lane = &self.lanes[row.lane as usize];
            // A held number of an earlier session keeps the mark that it was last sent with.
            if lane.serial == row.serial {
                row.mark = lane.mark();
            }
        }
        let correlation = self.requests.correlation(index);
        if peer.flying == 0 {
            peer.heard_ns = now_ns;
        }
        peer.flying += 1;
        let row = self.requests.row_mut(index);
        let stamp = Stamp {
            correlation,
            left_ms: deadline_ns.saturating_sub(now_ns).div_ceil(MS),
        };
        push(peer, row, &stamp, self.options.frame_bytes);
        if !std::mem::replace(&mut peer.listed, true) {
            self.listed.push(peer_index);
        }
        // Whoever answers other requests may be cut off from where this one has to go.
        let answered_ns = match target {
            Target::Writer => now_ns + u64::from(self.options.silence_ms).max(1) * MS,
            Target::Shard(..) | Target::Anyone => u64::MAX,
        };
        self.requests.set_due(index, deadline_ns.min(answered_ns));
    }

    /// A copy is not under way any more.
    pub(crate) fn land(&mut self, index: u32) {
        let row = self.requests.row(index);
        if row.stage == Stage::Flying {
            let peer = &mut self.peers[row.peer as usize];
            peer.flying = peer.flying.saturating_sub(1);
        }
    }

    /// Ends a request.
    pub(crate) fn finish(
        &mut self,
        now_ns: u64,
        index: u32,
        result: Result<Outcome, ClientError>,
        token: Option<Token>,
        body: &[u8],
    ) {
        self.land(index);
        let ticket = self.requests.ticket(index);
        let row = self.requests.row_mut(index);
        if !row.internal {
            self.completions.push(&Completion {
                ticket,
                tag: row.tag,
                result,
                token,
                body,
                attempts: row.attempts,
            });
        }
        if row.asks != Asks::Effect {
            return self.requests.remove(index);
        }
        let (stage, lane_index, number, serial) = (row.stage, row.lane, row.number, row.serial);
        let counted = std::mem::take(&mut row.counted);
        let held = row.hold_unknown && number != 0 && result == Err(ClientError::Unknown);
        if held {
            row.stage = Stage::Held;
            self.requests.set_due(index, u64::MAX);
        } else {
            self.requests.remove(index);
        }
        let lane = &mut self.lanes[lane_index as usize];
        match stage {
            Stage::Waiting => lane.waiting.retain(|other| *other != index),
            Stage::Rebinding => lane.rebinds.retain(|(_, other)| *other != index),
            _ if lane.serial == serial => {
                lane.live -= u32::from(counted);
                if !held {
                    lane.end(number);
                }
            }
            _ => {}
        }
        self.feed_lane(now_ns, lane_index);
    }
}

/// What tells a copy from others of its request.
struct Stamp {
    correlation: u64,
    left_ms: u64,
}

impl Stamp {
    /// Writes the header of this copy.
    #[inline]
    fn put(&self, row: &Request, header: &mut RequestHeader) {
        let small = |length: usize| U32::new(u32::try_from(length).expect("messages are bounded far below 4 GiB"));
        let key_bytes = padded(row.key_length.into());
        let flags = if row.dirty { SENT_BEFORE } else { 0 } | if row.here { HERE } else { 0 };
        *header = RequestHeader {
            item: ItemHeader {
                kind: ItemKind::Request as u8,
                flags,
                count: U16::new(row.key_length),
                length: small(REQUEST_HEADER + row.bytes.len()),
                group: U32::new(row.group),
                aux: small(row.bytes.len() - key_bytes),
            },
            session: row.session,
            correlation: self.correlation.into(),
            key_hash: 0.into(),
            number: row.number.into(),
            mark: row.mark.into(),
            timeout_ms: u32::try_from(self.left_ms).unwrap_or(u32::MAX).into(),
            hops: 0,
            operation: row.operation as u8,
            level: row.level as u8,
            reserved: 0,
        };
    }
}
