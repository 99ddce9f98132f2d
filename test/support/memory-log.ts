// A log that tests read, and a way to wait for a line of it.

import type { Fields, Level, Log } from '../../host/log.js'

export interface Line {
  readonly level: Level
  readonly event: string
  readonly fields: Fields
}

export interface MemoryLog extends Log {
  readonly lines: readonly Line[]
  /** The first line of that event, written before or within `deadlineMs`; rejects after it. */
  line(event: string, deadlineMs?: number): Promise<Line>
}

export function memoryLog(): MemoryLog {
  const lines: Line[] = []
  const waiting = new Set<(line: Line) => void>()

  const logWith = (bound: Fields): Log => {
    const at =
      (level: Level) =>
      (event: string, fields: Fields = {}): void => {
        const line = { level, event, fields: { ...bound, ...fields } }
        lines.push(line)
        for (const look of waiting) look(line)
      }
    return {
      debug: at('debug'),
      info: at('info'),
      warn: at('warn'),
      error: at('error'),
      with: (fields) => logWith({ ...bound, ...fields }),
    }
  }

  return {
    ...logWith({}),
    lines,
    line(event, deadlineMs = 5000) {
      const found = lines.find((each) => each.event === event)
      if (found !== undefined) return Promise.resolve(found)
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting.delete(look)
          reject(
            new Error(
              `no line ${event} within ${deadlineMs} ms; saw ${lines.map((l) => l.event).join(', ')}`,
            ),
          )
        }, deadlineMs)
        const look = (line: Line): void => {
          if (line.event !== event) return
          clearTimeout(timer)
          waiting.delete(look)
          resolve(line)
        }
        waiting.add(look)
      })
    },
  }
}
