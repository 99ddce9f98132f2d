// Numbers of the frame layer: types, flags, settings and sizes (RFC 9113 §4, §6). Constants only.

export const FRAME = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const

export const FLAG = { ACK: 0x1, END_STREAM: 0x1, END_HEADERS: 0x4, PADDED: 0x8, PRIORITY: 0x20 } as const

export const FRAME_HEADER_BYTES = 9

/** The largest frame a peer may send or take before it was told otherwise. */
export const DEFAULT_MAX_FRAME_BYTES = 16_384
export const LARGEST_MAX_FRAME_BYTES = 0xff_ffff
export const DEFAULT_WINDOW_BYTES = 65_535
export const LARGEST_WINDOW_BYTES = 0x7fff_ffff
export const LARGEST_STREAM_ID = 0x7fff_ffff

/** What a client says first (RFC 9113 §3.4). */
export const CLIENT_PREFACE: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')

/** An unsigned 32-bit number; a JS loop of four reads is cheaper than the checked method of Buffer. */
export const readUint32 = (bytes: Buffer, at: number): number =>
  ((bytes[at] ?? 0) * 0x100_0000 +
    (((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0))) >>>
  0

/** A 31-bit number under one reserved bit, which is ignored. */
export const readUint31 = (bytes: Buffer, at: number): number => readUint32(bytes, at) & 0x7fff_ffff
