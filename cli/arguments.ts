// Parsers of option values: text as typed -> a value that cannot be wrong, or a usage error that names the option.

import { isIP } from 'node:net'
import { InvalidArgumentError, Option } from 'commander'
import type { Level } from '../host/log.js'
import { parseDuration } from '../mesh/duration.js'
import {
  type AgentName,
  NAMED_KINDS,
  parseAgentName,
  parseSpiffeId,
  type SpiffeId,
} from '../mesh/spiffe-id.js'

export function port(raw: string): number {
  const value = Number(raw)
  if (!/^\d{1,5}$/.test(raw) || value > 65_535)
    throw new InvalidArgumentError('It must be a port, 0 to 65535.')
  return value
}

export function count(raw: string): number {
  const value = Number(raw)
  if (!/^\d{1,9}$/.test(raw) || value < 1) throw new InvalidArgumentError('It must be a number from 1.')
  return value
}

const HOST = /^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/

export function host(raw: string): string {
  if (isIP(raw) === 0 && !HOST.test(raw))
    throw new InvalidArgumentError('It must be an IP address or a host name.')
  return raw.toLowerCase()
}

/** `HOST`, `HOST:PORT`, `[::1]:PORT`. */
export function hostAndPort(raw: string): { host: string; port: number | null } {
  if (isIP(raw) !== 0) return { host: raw, port: null }
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/.exec(raw)
  if (match === null) throw new InvalidArgumentError('It must be HOST or HOST:PORT.')
  return {
    host: host((match[1] ?? '').replace(/^\[|\]$/g, '')),
    port: match[2] === undefined ? null : port(match[2]),
  }
}

/** `http`: what the app speaks, when that is HTTP/2 without TLS and nothing else. */
export type AppAddress = (
  | { readonly host: string; readonly port: number }
  | { readonly socketPath: string }
) & { readonly http?: 'h2c' }

/** `HOST:PORT`, a bare `PORT` on loopback, or `unix:PATH`; `h2c:` before any of them. */
export function appAddress(raw: string): AppAddress {
  return raw.startsWith('h2c:')
    ? { ...plainAddress(raw.slice('h2c:'.length)), http: 'h2c' }
    : plainAddress(raw)
}

function plainAddress(raw: string): AppAddress {
  if (raw.startsWith('unix:')) {
    if (raw === 'unix:') throw new InvalidArgumentError('It must be HOST:PORT or unix:PATH.')
    return { socketPath: raw.slice('unix:'.length) }
  }
  if (/^\d+$/.test(raw)) return { host: '127.0.0.1', port: port(raw) }
  const { host: name, port: number } = hostAndPort(raw)
  if (number === null) throw new InvalidArgumentError('It must be HOST:PORT or unix:PATH.')
  return { host: name, port: number }
}

const WEEK_SECONDS = 604_800
const SHORTEST_SECONDS = 10

/** @returns whole seconds; lives below 15 minutes are for the CA to allow, which knows whether it is one for development */
export function certificateLife(raw: string): number {
  const seconds = Math.floor(parseDuration(raw) / 1000)
  if (seconds < SHORTEST_SECONDS || seconds > WEEK_SECONDS)
    throw new InvalidArgumentError('It must be from 15m (10s with a development CA) to 7d.')
  return seconds
}

/** @returns whole seconds; `0` needs no unit */
export function graceTime(raw: string): number {
  const seconds = raw === '0' ? 0 : Math.floor(parseDuration(raw) / 1000)
  if (seconds > WEEK_SECONDS) throw new InvalidArgumentError('It must be from 0 to 7d.')
  return seconds
}

export const kindOption = (): Option =>
  new Option('--kind <kind>', 'what the name stands for').choices(NAMED_KINDS).default('agent')

/** A member by its name, or whoever has that whole SPIFFE ID. */
export function nameOrId(raw: string): AgentName | SpiffeId {
  return raw.startsWith('spiffe:') ? parseSpiffeId(raw) : parseAgentName(raw)
}

export interface CalleePort {
  readonly callee: AgentName
  readonly port: number
  /** Asks for no local credential. */
  readonly open: boolean
}

/** One `--to callee=PORT[,open]`, added to those before it. */
export function calleePort(raw: string, before: readonly CalleePort[] = []): CalleePort[] {
  const match = /^([^=]+)=(\d{1,5})(,open)?$/.exec(raw)
  if (match === null) throw new InvalidArgumentError('It must be CALLEE=PORT or CALLEE=PORT,open.')
  const callee = parseAgentName(match[1] ?? '')
  if (before.some((each) => each.callee === callee))
    throw new InvalidArgumentError(`${callee} was given twice.`)
  return [...before, { callee, port: port(match[2] ?? ''), open: match[3] !== undefined }]
}

export function level(raw: string): Level {
  const found = (['debug', 'info', 'warn', 'error'] as const).find((each) => each === raw)
  if (found === undefined) throw new InvalidArgumentError('It must be debug, info, warn or error.')
  return found
}

/** @returns ms */
export function duration(raw: string): number {
  return parseDuration(raw)
}
