// The load generator, a process of its own: takes one job at a time as a message, and answers with what it measured.

import { generateCalls } from './calls.js'
import { generateEvents } from './events.js'
import { generateUnaryCalls } from './grpc.js'
import { generateHandshakes } from './handshakes.js'
import type { Answer, Job, Measured } from './job.js'
import { generateMessages } from './websocket.js'

function generate(job: Job): Promise<Measured> {
  switch (job.kind) {
    case 'calls':
      return generateCalls(job)
    case 'events':
      return generateEvents(job)
    case 'websocket':
      return generateMessages(job)
    case 'grpc':
      return generateUnaryCalls(job)
    case 'handshakes':
      return generateHandshakes(job)
  }
}

process.on('message', (job: Job) => {
  generate(job).then(
    (measured) => reply({ measured }),
    (error: unknown) => reply({ failed: error instanceof Error ? error.message : String(error) }),
  )
})
process.on('disconnect', () => process.exit())

function reply(answer: Answer): void {
  process.send?.(answer)
}
