// Logs: one JSON object a line on stderr. The event name is a constant, all else are fields; never a key, token or header value.
// error = a human must act; warn = degraded; info = a state changed; debug = the rest. Calls are the ledger's job.

import type { Clock } from './clock.js'

export type Level = 'debug' | 'info' | 'warn' | 'error'
export type Fields = Readonly<Record<string, string | number | boolean | null | undefined>>

export interface Log {
  debug(event: string, fields?: Fields): void
  info(event: string, fields?: Fields): void
  warn(event: string, fields?: Fields): void
  error(event: string, fields?: Fields): void
  /** A log that adds these fields to each line. */
  with(fields: Fields): Log
}

const RANK: Record<Level, number> = { debug: 0, info: 1, warn: 2, error: 3 }

export interface LogOptions {
  readonly clock: Clock
  readonly level: Level
  /** Takes one line without its newline. */
  readonly write: (line: string) => void
}

export function openLog({ clock, level, write }: LogOptions, bound: Fields = {}): Log {
  const at =
    (line: Level) =>
    (event: string, fields: Fields = {}): void => {
      if (RANK[line] < RANK[level]) return
      const head = { at: new Date(clock.now()).toISOString(), level: line, event }
      // Twice: first for the order, last so that no field takes its place.
      write(JSON.stringify({ ...head, ...bound, ...fields, ...head }))
    }
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    with: (fields) => openLog({ clock, level, write }, { ...bound, ...fields }),
  }
}

/** Fields that describe an error: its code and message, and those of its causes; the stack only for bugs. */
export function errorFields(error: unknown): Fields {
  if (!(error instanceof Error)) return { error: String(error) }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name
  const cause = error.cause instanceof Error ? error.cause.message : undefined
  const bug =
    code === 'INTERNAL' ? (error.cause instanceof Error ? error.cause.stack : error.stack) : undefined
  return { code, error: error.message, cause, stack: bug }
}
