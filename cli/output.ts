// The only place of the CLI that writes: data to stdout, talk to stderr. A reader that goes away (`| head`) ends us quietly.

import type { Writable } from 'node:stream'

export interface Output {
  /** One line of data for people or for a pipe. */
  line(text: string): void
  /** One JSON value on one line. */
  json(value: unknown): void
  /** Talk: one line on stderr. */
  say(text: string): void
  /** Aborted when stdout was closed by its reader. */
  readonly closed: AbortSignal
}

export function openOutput(stdout: Writable, stderr: Writable): Output {
  const closed = new AbortController()
  const open = { stdout: true, stderr: true }
  stdout.on('error', () => {
    open.stdout = false
    closed.abort()
  })
  stderr.on('error', () => {
    open.stderr = false
  })
  const line = (text: string): void => {
    if (open.stdout) stdout.write(`${text}\n`)
  }
  return {
    line,
    json: (value) => line(JSON.stringify(value)),
    say: (text) => {
      if (open.stderr) stderr.write(`${text}\n`)
    },
    closed: closed.signal,
  }
}

/** Rows under their headings, columns as wide as they need; the last one is not padded. */
export function formatTable(headings: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const cells = [headings, ...rows].map((row) => row.map(printable))
  const widths = headings.map((_heading, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)))
  return cells.map((row) =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  )
}

/** `name: value` lines, aligned. */
export function formatFields(fields: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...fields.map(([name]) => name.length))
  return fields.map(([name, value]) => `${name.padEnd(width)}  ${printable(value)}`)
}

/** The text without anything a terminal would obey: records hold what strangers sent. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '?')
}

/** An instant as RFC 3339 UTC, to the second. */
export function formatInstant(at: number): string {
  return `${new Date(at).toISOString().slice(0, 19)}Z`
}
