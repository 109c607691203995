// Checks objects, JSON on standard input, with the schemas of the Prometheus operator and of the Gateway API.
import {readFileSync} from 'node:fs';
import {HTTPRoute} from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute';
import {PrometheusRule} from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule';
import {ServiceMonitor} from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor';

const kinds = {HTTPRoute, PrometheusRule, ServiceMonitor};
for (const document of JSON.parse(readFileSync(0, 'utf8'))) {
  try {
    new kinds[document.kind](document).validate();
  } catch (error) {
    console.log(`${document.kind}: ${error.message}`);
    process.exitCode = 1;
  }
}
