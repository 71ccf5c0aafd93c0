//! Codes of what other systems send, `5xxx`: `500x` MLLP streams, `501x` and `502x` HL7 messages and batches, `503x` sending.
//!
//! An acknowledgement carries the number of HL7's table 0357, which receivers know; these are for people. **Invariant:** as of the whole
//! registry.

/// What became of a message that was refused for what it is.
const NOT_STORED: &str = "The message is not stored, and the same bytes will be refused again.";
/// What became of a batch that was refused for what it is.
const BATCH_NOT_STORED: &str = "Nothing of what follows in the batch is stored.";
/// What became of a message that is not to leave.
const NOT_QUEUED: &str = "The message was not taken for sending; the sender is as before.";

codes! {
    /// The name of a code of MLLP or HL7.
    EdgeCode;
    Junk = 5001, "too many bytes outside of MLLP frames",
        cause: "Whoever sends this does not speak MLLP.",
        effect: "The connection was ended; what was handed on before stands.",
        remedy: "Sender: frame each message as 0B message 1C 0D.";
    Endless = 5002, "an MLLP frame does not end",
        cause: "A body has gone far beyond the limit: its 1C 0D is missing, or it is no message.",
        effect: "The connection was ended; what was handed on before stands.",
        remedy: "Sender: end each message with 1C 0D.";

    Hl7Empty = 5011, "the message is empty",
        cause: "The frame holds nothing but line ends and blanks.",
        effect: NOT_STORED,
        remedy: "Sender: send a message, or nothing.";
    NotHl7 = 5012, "not HL7 v2",
        cause: "The message begins with none of MSH, FHS and BHS.",
        effect: NOT_STORED,
        remedy: "Sender: send HL7 v2 in ER7, beginning with MSH.";
    Hl7Delimiters = 5013, "separators are missing",
        cause: "MSH-1 and MSH-2 do not name separators: they are missing, doubled, or letters.",
        effect: NOT_STORED,
        remedy: "Sender: name the separators in MSH-1 and MSH-2.";
    Hl7MessageType = 5014, "no message type",
        cause: "MSH-9 is empty, so nobody can say what the message is.",
        effect: NOT_STORED,
        remedy: "Sender: fill MSH-9.";
    Hl7ControlId = 5015, "no control id",
        cause: "MSH-10 is empty, so nobody could say which message an answer belongs to.",
        effect: NOT_STORED,
        remedy: "Sender: fill MSH-10, with a value of its own for each message.";
    Hl7NoPatient = 5016, "no patient and no visit",
        cause: "Neither PID-3 nor PV1-19 has an id, so the message belongs to no actor.",
        effect: NOT_STORED,
        remedy: "Sender: fill PID-3 or PV1-19.";
    Hl7KeyTooLong = 5017, "the ids are too long for a key",
        cause: "The id of the patient and the facility are longer than a key may be.",
        effect: NOT_STORED,
        remedy: "Sender: shorten PID-3 or MSH-4.";
    Hl7MergedId = 5018, "a merge does not say who ends",
        cause: "MRG names neither patient, account nor visit.",
        effect: NOT_STORED,
        remedy: "Sender: fill MRG-1.";
    Hl7BatchOpen = 5019, "a batch is not closed",
        cause: "There is a BHS and no BTS: the end of the batch may be lost.",
        effect: BATCH_NOT_STORED,
        remedy: "Sender: send the batch again, whole.";
    Hl7FileOpen = 5020, "a file is not closed",
        cause: "There is an FHS and no FTS: the end of the file may be lost.",
        effect: BATCH_NOT_STORED,
        remedy: "Sender: send the file again, whole.";
    Hl7BatchOrder = 5021, "headers or trailers are out of order",
        cause: "FHS, BHS, BTS or FTS stands where none can be.",
        effect: BATCH_NOT_STORED,
        remedy: "Sender: put each batch between BHS and BTS, each file between FHS and FTS.";
    Hl7BatchNumber = 5022, "the count of a batch is no number",
        cause: "BTS-1 is no number.",
        effect: BATCH_NOT_STORED,
        remedy: "Sender: write the number of messages in BTS-1.";
    Hl7FileNumber = 5023, "the count of a file is no number",
        cause: "FTS-1 is no number.",
        effect: BATCH_NOT_STORED,
        remedy: "Sender: write the number of batches in FTS-1.";
    Hl7BatchCount = 5024, "the count of a batch is wrong",
        cause: "BTS-1 is not the number of messages in the batch: one may be lost.",
        effect: BATCH_NOT_STORED,
        remedy: "Sender: send the batch again, whole, with the right number in BTS-1.";
    Hl7FileCount = 5025, "the count of a file is wrong",
        cause: "FTS-1 is not the number of batches in the file: one may be lost.",
        effect: BATCH_NOT_STORED,
        remedy: "Sender: send the file again, whole, with the right number in FTS-1.";

    Unframeable = 5031, "the message cannot be framed",
        cause: "It holds bytes that begin or end an MLLP frame, and would not arrive as it is.",
        effect: NOT_QUEUED,
        remedy: "Caller: take 0B and 1C 0D out of the message.";
    SenderFull = 5032, "too many messages wait for their answers",
        cause: "The receiver answers more slowly than messages come.",
        effect: NOT_QUEUED,
        remedy: "Caller: come back when one has ended. Operator: look at the receiver.";
    MllpUnreachable = 5033, "nobody takes connections at the MLLP address",
        cause: "Nothing listens there, or nothing is heard from it.",
        effect: "What was accepted before stands; nothing else was sent.",
        remedy: "Caller: look at the address and whether the receiver runs; a node takes MLLP at its first port + 128.";
    NotMllp = 5034, "the receiver speaks no MLLP",
        cause: "What came back were no MLLP frames: the address is that of something else.",
        effect: "No answer means a message: what became of one that was sent is for whoever listens there to say.",
        remedy: "Caller: look at the address; a node takes MLLP at its first port + 128.";
    MllpUnanswered = 5035, "a message was not answered in time",
        cause: "The receiver took the message and said nothing, ended the connection, or answered something else.",
        effect: "The receiver may have stored it. Nothing behind it was sent.",
        remedy: "Caller: send on from this message: a receiver that recognises repeats stores it once. Operator: look at the receiver.";
    MllpRefused = 5036, "the receiver refused messages",
        cause: "It answered AR or CR, or AE or CE to every attempt; or a file holds no HL7 and was not sent.",
        effect: "Those messages are not stored; the others are.",
        remedy: "Caller: correct what the receiver's text names, and send these messages again.";
}
