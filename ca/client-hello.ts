// Looks into the first bytes of a TLS connection for the ALPN protocols a client offers (RFC 8446 §4.1.2, §5.1; RFC 7301 §3.1),
// because the door depends on them. It reads untrusted bytes: pure, bounded, and what it does not know it refuses. TLS itself
// reads the same bytes again; nothing is decided here but which of two doors gets them.

/** `more`: not yet whole. `junk`: never will be a ClientHello. */
export type Peek =
  | { readonly state: 'more' }
  | { readonly state: 'junk' }
  | { readonly state: 'hello'; readonly alpn: readonly string[] }

/** A ClientHello is some hundred bytes; with post-quantum key shares less than 4 KiB. */
export const HELLO_MAX_BYTES = 16 * 1024

/** First byte of a TLS connection: the type of its first record. */
export const TLS_HANDSHAKE = 22
const CLIENT_HELLO = 1
const RECORD_MAX = 16_384
const ALPN = 16
const MORE: Peek = { state: 'more' }
const JUNK: Peek = { state: 'junk' }

class Junk extends Error {}

/** @param bytes everything received so far */
export function peekClientHello(bytes: Buffer): Peek {
  try {
    const body = handshakeBody(bytes)
    if (body !== undefined) return { state: 'hello', alpn: readHello(new Cursor(body)) }
    return bytes.length < HELLO_MAX_BYTES ? MORE : JUNK
  } catch (error) {
    if (error instanceof Junk) return JUNK
    throw error
  }
}

/** The body of the handshake message, gathered from its records; undefined while it is not whole. */
function handshakeBody(bytes: Buffer): Buffer | undefined {
  const parts: Buffer[] = []
  let rest = bytes
  while (rest.length > 0) {
    checkRecordStart(rest)
    if (rest.length < 5) break
    const length = rest.readUInt16BE(3)
    if (length === 0 || length > RECORD_MAX) throw new Junk()
    parts.push(rest.subarray(5, 5 + length))
    rest = rest.subarray(5 + length)
  }
  const message = Buffer.concat(parts)
  if (message.length > 0 && message[0] !== CLIENT_HELLO) throw new Junk()
  if (message.length < 4) return undefined
  const length = message.readUIntBE(1, 3)
  if (length > HELLO_MAX_BYTES) throw new Junk()
  return message.length < 4 + length ? undefined : message.subarray(4, 4 + length)
}

/** Type handshake, version 3.0 to 3.4; of what there is, so that junk is known from its first byte. */
function checkRecordStart(record: Buffer): void {
  const [type, major = 3, minor = 1] = record
  if (type !== TLS_HANDSHAKE || major !== 3 || minor > 4) throw new Junk()
}

function readHello(hello: Cursor): string[] {
  // legacy_version and random, then session id, cipher suites, compression methods
  hello.take(34)
  if (hello.vector(1).length > 32) throw new Junk()
  const suites = hello.vector(2)
  if (suites.length === 0 || suites.length % 2 !== 0) throw new Junk()
  if (hello.vector(1).length === 0) throw new Junk()
  if (hello.isDone()) return []
  const extensions = new Cursor(hello.vector(2))
  if (!hello.isDone()) throw new Junk()
  let alpn: string[] | undefined
  while (!extensions.isDone()) {
    const type = extensions.number(2)
    const content = extensions.vector(2)
    if (type !== ALPN) continue
    if (alpn !== undefined) throw new Junk()
    alpn = readProtocols(new Cursor(content))
  }
  return alpn ?? []
}

function readProtocols(content: Cursor): string[] {
  const list = new Cursor(content.vector(2))
  if (!content.isDone() || list.isDone()) throw new Junk()
  const protocols: string[] = []
  while (!list.isDone()) {
    const name = list.vector(1)
    if (name.length === 0) throw new Junk()
    protocols.push(name.toString('latin1'))
  }
  return protocols
}

/** Reads forward and never past the end. */
class Cursor {
  private at = 0
  private readonly bytes: Buffer

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  isDone(): boolean {
    return this.at === this.bytes.length
  }

  take(length: number): Buffer {
    if (this.bytes.length - this.at < length) throw new Junk()
    this.at += length
    return this.bytes.subarray(this.at - length, this.at)
  }

  number(octets: 1 | 2): number {
    return this.take(octets).readUIntBE(0, octets)
  }

  /** A vector whose length stands before it in so many octets. */
  vector(octets: 1 | 2): Buffer {
    return this.take(this.number(octets))
  }
}
