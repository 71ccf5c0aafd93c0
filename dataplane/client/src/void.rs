//! What became of it: voids, released numbers, and the end of the client.

use waterpark_wire::padded;
use waterpark_wire::reply::Outcome;
use waterpark_wire::request::Operation;

use crate::client_core::{ClientCore, Effect, after_ms};
use crate::completion::Ticket;
use crate::error::ClientError;
use crate::peer::{PeerId, Standing};
use crate::requests::{Asks, Stage};

impl ClientCore {
    /// Asks what became of a message, and takes its number if nothing did: the ticket's completion then says `Voided`, and the message
    /// will never take effect. For a ticket that is open, or that ended `Unknown` and was sent with `hold_unknown`. The completion carries
    /// the new tag.
    ///
    /// # Errors
    /// `Gone` if the ticket names nothing that could be asked about.
    pub fn void(&mut self, now_ns: u64, ticket: Ticket, timeout_ms: u32, tag: u64) -> Result<(), ClientError> {
        let index = self.requests.find(ticket).ok_or(ClientError::Gone)?;
        let row = self.requests.row_mut(index);
        if row.asks != Asks::Effect {
            return Err(ClientError::Gone);
        }
        let (stage, dirty) = (row.stage, row.dirty);
        row.tag = tag;
        row.deadline_ns = after_ms(now_ns, timeout_ms);
        let under_way = stage == Stage::Flying || stage == Stage::Held || dirty;
        if !under_way {
            // Every copy was refused for certain, or none was sent, and none will be.
            self.finish(now_ns, index, Ok(Outcome::Voided), None, &[]);
            return Ok(());
        }
        self.land(index);
        let row = self.requests.row_mut(index);
        row.dirty = true;
        row.stage = Stage::Pausing;
        row.operation = Operation::Void;
        let length = padded(row.key_length.into());
        self.requests.truncate(index, length);
        self.dispatch(now_ns, index);
        Ok(())
    }

    /// Forgets a held number: nothing more can be asked about it, and its lane goes on without it.
    ///
    /// # Errors
    /// `Gone` if the ticket is not held.
    pub fn release(&mut self, now_ns: u64, ticket: Ticket) -> Result<(), ClientError> {
        let index = self.requests.find(ticket).ok_or(ClientError::Gone)?;
        let row = self.requests.row(index);
        if row.stage != Stage::Held {
            return Err(ClientError::Gone);
        }
        let (lane_index, number, serial) = (row.lane, row.number, row.serial);
        self.requests.remove(index);
        let lane = &mut self.lanes[lane_index as usize];
        if lane.serial == serial {
            lane.end(number);
        }
        self.feed_lane(now_ns, lane_index);
        Ok(())
    }

    /// Ends the client: every open request ends now, and all connections are closed.
    pub fn close(&mut self, now_ns: u64) {
        self.is_closed = true;
        // Those that wait end first, or the end of others would send them.
        let waiting = |stage| matches!(stage, Stage::Waiting | Stage::Rebinding);
        for wait in [true, false] {
            for index in self.requests.select(|row| waiting(row.stage) == wait) {
                let row = self.requests.row_mut(index);
                row.hold_unknown = false;
                let sent = row.asks == Asks::Effect && (row.stage == Stage::Flying || row.dirty);
                match row.stage {
                    Stage::Held => {
                        let ticket = self.requests.ticket(index);
                        self.release(now_ns, ticket).expect("it is held");
                    }
                    _ if sent => self.finish(now_ns, index, Err(ClientError::Unknown), None, &[]),
                    _ => self.finish(now_ns, index, Err(ClientError::Closed), None, &[]),
                }
            }
        }
        for index in 0..self.peers.len() {
            let peer = &mut self.peers[index];
            if matches!(peer.standing, Standing::Down { .. }) {
                continue;
            }
            peer.fall(u64::MAX);
            let peer = PeerId(u32::try_from(index).expect("peers are counted in 32 bits"));
            let cause = ClientError::Closed;
            self.effects.push(Effect::Close { peer, cause });
        }
        self.up.clear();
    }
}
