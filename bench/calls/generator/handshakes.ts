// Clients of another stack at a mutual-TLS door: a new connection with a full handshake and one request, again and again.

import net from 'node:net'
import tls from 'node:tls'
import type { HandshakesJob, Measured } from './job.js'
import { measureWindow, Tally } from './window.js'

/** @throws Error when a handshake fails, or an answer is not 200 */
export async function generateHandshakes(job: HandshakesJob): Promise<Measured> {
  const tally = new Tally()
  // never with a session of an earlier connection: every handshake is a full one
  const secureContext = tls.createSecureContext({
    ca: job.caPem,
    cert: job.certPem,
    key: job.keyPem,
    minVersion: 'TLSv1.3',
  })
  const ended = Array.from({ length: job.callers }, (_, at) => callAgain(job, tally, secureContext, at))
  try {
    return await measureWindow(tally, job)
  } finally {
    await Promise.all(ended)
  }
}

async function callAgain(
  job: HandshakesJob,
  tally: Tally,
  secureContext: tls.SecureContext,
  number: number,
): Promise<void> {
  while (!tally.isOver && !tally.hasFailed) {
    const startedAt = performance.now()
    try {
      await callOnce(job, secureContext, number)
      tally.done(performance.now() - startedAt)
    } catch (error) {
      tally.fail(error instanceof Error ? error : new Error(String(error)))
    }
  }
}

function callOnce(
  { host, port, serverName, head }: HandshakesJob,
  secureContext: tls.SecureContext,
  number: number,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const plain = net.connect({ host, port, noDelay: true, localAddress: `127.0.0.${2 + number}` })
    plain.on('error', reject)
    const socket = tls.connect({
      socket: plain,
      servername: serverName,
      secureContext,
      ALPNProtocols: ['http/1.1'],
    })
    let answer = ''
    socket.setEncoding('latin1')
    socket.on('secureConnect', () => socket.write(head, 'latin1'))
    socket.on('data', (text: string) => {
      answer += text
    })
    socket.on('error', reject)
    socket.on('close', () => {
      if (answer.startsWith('200', 9)) resolve()
      else reject(new Error(`answered ${answer === '' ? 'nothing' : (answer.split('\r\n')[0] ?? '')}`))
    })
  })
}
