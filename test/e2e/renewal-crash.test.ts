// kill -9 of a CA process between the commit of a renewal and its answer. The product has no fault point for that: a proxy looks into
// the database at each piece of an answer, and from the commit on lets none pass.

import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { openSqliteReader } from '../../host/sqlite.js'
import { freePort, openCliHome, until } from '../support/cli-home.js'
import { openHoldingProxy } from '../support/holding-proxy.js'
import { makeTestHome } from '../support/open-test-member.js'

it('a CA killed between commit and answer gives the same certificate when it is asked again', async () => {
  await using home = openCliHome()
  await using at = makeTestHome()
  const caPort = await freePort()
  await home.ok('init', '--trust-domain', 'acme.internal', '--dev')
  const serve = async () => {
    const ca = home.start('ca', 'serve', '--ca-port', String(caPort))
    await until('the CA', async () => ((await home.troth('agent', 'list')).code === 0 ? true : undefined))
    return ca
  }
  const ca = await serve()
  await home.ok('agent', 'add', 'planner')
  const adminSocket = path.join(home.dir, 'ca', 'admin.sock')
  const first = await at.open({ enrolBy: { adminSocket } })
  const { serial } = first.credentials.current().svid
  await first.stop()

  await using proxy = await openHoldingProxy(caPort)
  const db = openSqliteReader(path.join(home.dir, 'ca', 'ca.db'))
  const children = (): string[] =>
    db.prepare('SELECT serial FROM certificates WHERE parent_serial = ?').pluck().all(serial) as string[]
  proxy.holdWhen = () => children().length > 0
  const instance = JSON.parse(readFileSync(at.file('instance.json'), 'utf8')) as object
  const throughProxy = { ...instance, caAddress: `127.0.0.1:${proxy.port}`, renewAt: 0 }
  writeFileSync(at.file('instance.json'), JSON.stringify(throughProxy))

  const member = await at.open()
  const committed = await until('the commit', () => children()[0])
  ca.kill('SIGKILL')
  await ca.ended
  expect(member.credentials.current().svid.serial).toBe(serial)
  expect(member.log.lines.filter(({ event }) => event === 'identity.rotated')).toEqual([])

  proxy.holdWhen = () => false
  await serve()
  await until('the renewal, asked for again', () =>
    member.credentials.current().svid.serial === committed ? true : undefined,
  )
  expect(children()).toEqual([committed])
  db.close()
})
