{{- /* At most 63 characters, since the Service is called so; Helm lets a release's name have 53. */ -}}
{{- define "granary.fullname" -}}
{{- if contains "granary" .Release.Name -}}
{{ .Release.Name }}-operator
{{- else -}}
{{ .Release.Name | trunc 46 | trimSuffix "-" }}-granary-operator
{{- end }}
{{- end }}

{{- define "granary.serviceAccountName" -}}
{{ .Values.serviceAccount.name | default (include "granary.fullname" .) }}
{{- end }}

{{- /* Labels that may never change: they stand in selectors. */ -}}
{{- define "granary.selectorLabels" -}}
app.kubernetes.io/name: granary-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "granary.labels" -}}
{{ include "granary.selectorLabels" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* image: dict "image" .Values.image "root" . */ -}}
{{- define "granary.image" -}}
{{ .image.repository }}{{ if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}
