// The load generator, a process of its own: takes one job at a time as a message, and answers with what it measured.

import { generateCalls } from './calls.js'
import type { Answer, Job, Measured } from './job.js'

function generate(job: Job): Promise<Measured> {
  switch (job.kind) {
    case 'calls':
      return generateCalls(job)
    case 'events':
    case 'websocket':
    case 'grpc':
    case 'handshakes':
      return Promise.reject(new Error(`${job.kind} is not generated yet`))
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
