// The two values that prove a WebSocket handshake of HTTP/1.1 (RFC 6455 §4). Frames are not looked at.

import { createHash, randomBytes } from 'node:crypto'

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/** A fresh Sec-WebSocket-Key. */
export const makeWebsocketKey = (): string => randomBytes(16).toString('base64')

/** The Sec-WebSocket-Accept that answers a key. */
export const acceptOf = (key: string): string => createHash('sha1').update(`${key}${GUID}`).digest('base64')
