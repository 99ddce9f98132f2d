// The transport as a codec sees it: what it may write, and when. Types only.

/** The transport: a TLS or plain socket, a pipe, a test. */
export interface Wire {
  /** Takes the bytes of a turn. They stay untouched until the user calls `written`; no second write comes before. */
  write(bytes: Buffer): void
  /** Asks for one `flush` at the end of this turn of the event loop: `setImmediate`. */
  schedule(): void
  /** The last byte was written and `written` was called for it: nothing more comes, nothing more is read. */
  close(): void
}

/** Heads of HTTP/1.1 are text, and most bodies small: one string is one write. Who reads slowly is not read from. */
export interface TextWire extends Wire {
  /**
   * Like `write`; latin1.
   * @returns true when it was taken at once: `written` is not called then
   */
  writeText(text: string): boolean
  /** The last byte was written and `written` was called for it: our side is over, what the peer says still comes. */
  shut(): void
  /** As `close`, of a peer that has said that it sends nothing more: there is nothing to wait for. */
  leave(): void
  /** No more bytes are fed until `resume`. */
  pause(): void
  resume(): void
}
