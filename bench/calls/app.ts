// The app that is called: it answers 200 and a few bytes at once, so that what is measured is the way to it.
// usage: node app.js PORT

import { createServer } from 'node:http'

const BODY = '{"hello":"world"}\n'

createServer({ keepAliveTimeout: 600_000 }, (request, response) => {
  request.resume()
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': BODY.length })
  response.end(BODY)
}).listen(Number(process.argv[2]), '127.0.0.1')
